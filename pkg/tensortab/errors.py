"""Every error this package raises.

TensortabError
├── ShapeError          operands of an op, or arrays fed to a session, do not fit together
├── KernelError         a .wgsl file is malformed, or the GPU's compiler rejected it
├── DeviceError         no adapter, a limit exceeded, a validation error of the GPU
│   └── DeviceLostError the GPU went away; open a new device and build the session again
├── FormatError         a file is malformed: what was read, where, and what the format asks for
├── UnsupportedError    a file or a request is sound, but outside what is implemented
├── QuantizationError   weights that cannot be quantized (NaN, infinity, a row of no whole groups)
└── SetupError          a program or a file this machine needs is missing, and how to get it
    └── NotFoundError   a file is not where it was looked for
"""


class TensortabError(Exception):
    """Base class; catch this to catch everything."""


class ShapeError(TensortabError):
    """Operands do not fit together."""


class KernelError(TensortabError):
    """A kernel file is malformed, or the GPU's compiler rejected it."""


class DeviceError(TensortabError):
    """The device cannot do what was asked."""


class DeviceLostError(DeviceError):
    """The GPU went away; everything on it is gone."""


class FormatError(TensortabError):
    """A file is malformed."""


class UnsupportedError(TensortabError):
    """Sound, but outside what is implemented."""


class QuantizationError(TensortabError):
    """Weights that cannot be quantized."""


class SetupError(TensortabError):
    """A program or a file this machine needs is missing."""


class NotFoundError(SetupError):
    """A file is not where it was looked for."""
