"""Measure the speed of the reference executor against Hugging Face and ``torch.compile``, on this machine.

Every figure is a ratio of two things that take turns in one process, or in processes of one run. A busy machine changes
the seconds, but hardly the ratio.
"""
