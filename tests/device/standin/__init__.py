"""A stand-in for ttnn that computes, in torch: what runs through it is the device executor's own code.

ttnn's mock devices accept calls and compute nothing; this computes what a call says, and so shows a call that says
something else than its node. Enums, memory configurations and program configurations are the installed ttnn's own,
which need no device, so an argument of another kind is refused here as there. Numbers are the model's: what the engine
does with a compute kernel configuration (``arithmetic``), and the same float32 sums as the reference executor's, so
that a right call gives the reference's numbers bit for bit. It says nothing of what real kernels compute.
"""
