"""Speed that can be measured on this machine: the reference executor beside Hugging Face and ``torch.compile``.

Every figure is a ratio of two things timed in turn in one process, or in processes of one run: a ratio survives a busy
machine, seconds do not.
"""
