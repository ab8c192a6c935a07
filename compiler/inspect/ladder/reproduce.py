"""Write a script that repeats one call of ttnn on the tensors that it had, with ttnn, torch and safetensors alone."""

from __future__ import annotations

import math
from pathlib import Path

import jinja2
import torch
from safetensors.torch import save

from compiler.dialects.ttnn.accuracy import allowance
from compiler.dialects.ttnn.call import HostCall, TtnnCall, Upload, call_of, upload
from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.dialects.ttnn.symbols import Namer
from compiler.errors import InvalidArgument
from compiler.folder import check_target
from compiler.inspect.ladder.nodes import Kept
from compiler.ir.types import DType, Memory
from compiler.output import write_whole
from compiler.runtime.executable import computed
from compiler.runtime.judging import judge

SCRIPT, TENSORS = "call.py", "tensors.safetensors"


def reproduction(kept: Kept, spec: DeviceSpec, about: str) -> tuple[str, bytes]:
    """Return the script and the file of tensors that it reads: operands, wanted results, and those that came.

    ``about`` are lines that say what is wrong. Raises ``InvalidArgument`` for a node that the host computes, since no
    call of ttnn is made for it.
    """
    node, call = kept.node, call_of(kept.node, spec)
    if isinstance(call, HostCall):
        raise InvalidArgument(f"%{node.results[0].name} is computed on the host: there is no call of ttnn to repeat")
    names = [f"x{place}" for place in range(len(node.operands))]
    on_host = _on_host(call) | {place for place, v in enumerate(node.operands) if v.type.memory is Memory.HOST}
    loads = []
    for place, (name, value) in enumerate(zip(names, node.operands, strict=True)):
        given = f'tensors["operand.{place}"]'
        sent = given if place in on_host else upload(value.type, spec).typed(_named(given))
        loads.append(f"{name} = {sent}  # {node.names[place]}: {value.type}".replace("\n", "\n    "))
    judged, wanted = judge(node, kept.operands, kept.results), allowance(node, kept.operands).wanted
    modelled = computed(node, DType.BFLOAT16)([tensor.clone() for tensor in kept.operands])
    tensors = {f"operand.{place}": _stored(tensor) for place, tensor in enumerate(kept.operands)}
    for name, results in (("wanted", wanted), ("modelled", modelled), ("came", kept.results)):
        tensors |= {f"{name}.{at}": _stored(tensor) for at, tensor in enumerate(results)}
    script = _template().render(
        about=about.replace("\\", "/").replace('"""', "'''").splitlines(),
        loads=loads,
        call=call.typed(names.__getitem__).replace("\n", "\n    "),
        prepared=isinstance(call, TtnnCall) and bool(call.prepared),
        allowed=_typed(judged.allowed),
        scale_allowed=_typed(judged.scale_allowed),
        tensors=TENSORS,
    )
    return script, save(tensors)


def write(folder: Path, kept: Kept, spec: DeviceSpec, about: str) -> Path:
    """Write both files into a new folder; the script's path. Raises ``InvalidArgument`` where it cannot be written."""
    script, tensors = reproduction(kept, spec, about)
    check_target(folder, False)
    folder.mkdir()
    write_whole(folder / TENSORS, tensors)
    write_whole(folder / SCRIPT, script.encode())
    return folder / SCRIPT


def _on_host(call: TtnnCall | Upload) -> set[int]:
    """The operands that the call itself takes from the host."""
    if isinstance(call, Upload):
        return {0}
    waiting = dict(call.prepared)
    return {place for name, place in call.operands if name in waiting and isinstance(place, int)}


def _typed(number: float) -> str:
    return repr(number) if math.isfinite(number) else f'float("{number}")'


def _named(tensor: str) -> Namer:
    return lambda _: tensor


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().contiguous()


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("compiler.inspect.ladder", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("call.py.jinja")
