"""Functions as lines of Python: one call each, with long arguments gathered by what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.dialects.ttnn.symbols import WIDTH, Made, Typed, typed, typed_call
from compiler.inspect.emit.functions import Function
from compiler.inspect.emit.lines import indented, signature
from compiler.inspect.emit.trees import Tree, shown

GROUPS: Mapping[str, tuple[str, ...]] = {
    "blocks": ("in0_block_w", "out_subblock_h", "out_subblock_w", "per_core_M", "per_core_N"),
    "sizes": ("in_channels", "out_channels", "input_height", "input_width", "input_length"),
    "window": ("kernel_size", "stride", "padding", "output_padding", "dilation"),
    "how": (
        *("memory_config", "dtype", "compute_kernel_config", "compute_config", "program_config", "conv_config"),
        *("core_grid", "device"),
    ),
    "caches": ("cache_tensor1", "cache_tensor2"),
    "tensors": (
        *("input_tensor", "input_tensor_a", "input_tensor_b", "residual_input_tensor"),
        *("input_tensor_q", "input_tensor_k", "input_tensor_v", "attn_mask"),
    ),
    "weights": ("weight", "bias", "weight_tensor", "bias_tensor"),
}
"""Arguments of ttnn's ops by what they are about: a call that is long is given each group by a name."""
_LONG = 40
"""Columns from which an object that a call is given gets a name."""
_SUM = 20
"""Columns from which a number that is computed gets a name."""
_PACKED = 3
"""Lines of a call that has its arguments on a line of their own."""


def printed(function: Function) -> list[str]:
    """The function as lines of Python."""
    names = function.names
    weights = ["w", "name"] if function.named else []
    required = [names[name] for name in function.tensors if name not in function.without]
    left = [f"{names[name]}=None" for name in (*function.tensors, *function.given) if name in function.without]
    own = [p.name + (f"={typed(shown(p.default))}" if p.has_default else "") for p in function.parameters]
    count = len(function.positional)
    keywords = [*(["*"] if own and not count and "=" not in own[0] else []), *own[count:]]
    op = [function.path] if function.path.isidentifier() else []
    lines = signature(function.name, [*op, *required, *weights, *own[:count], *left, *keywords])
    if function.through is not None:
        caller, passed = function.through
        first: list[Tree] = [Typed(each) for each in (function.path, *required, *weights)]
        given: list[tuple[str | None, Tree]] = [(None, shown(value)) for value in (*first, *passed)]
        return [*lines, *_call("return ", caller, [*given, *((n, shown(v)) for n, v in function.keywords)])]
    tensors: list[tuple[str, Tree]] = [(name, Typed(names[name])) for name in function.tensors]
    tensors += [(name, Typed(_weight(function, name, end))) for name, end in function.named]
    begin = "output, prepared = " if function.prepared else "return "
    rest = [(None, Typed(p.name)) for p in function.parameters if p.name.startswith("**")]
    own_keywords = [(name, shown(value)) for name, value in function.keywords]
    lines += _call(begin, function.path, [*tensors, *own_keywords, *rest])
    if function.prepared:
        keys = "".join(f'f"{{name}}.{end}", ' for _, end in function.named)
        keys = keys.removesuffix(", " if len(function.named) > 1 else " ")
        lines += [f"    w.update(zip(({keys}), prepared))", "    return output"]
    return lines


def _weight(function: Function, name: str, end: str) -> str:
    found = f'w.get(f"{{name}}.{end}")' if name in function.without else f'w[f"{{name}}.{end}"]'
    return f"{found} if {end} is None else {end}" if name in function.given else found


def _call(begin: str, path: str, arguments: Sequence[tuple[str | None, Tree]]) -> list[str]:
    """Lines of a call: those of its arguments that are long before it, under names."""
    left, lines = list(arguments), list[str]()

    def text(arguments: Sequence[tuple[str | None, Tree]]) -> list[str]:
        return indented((begin + typed_call(path, arguments, 4 + len(begin), 4, packed=True)).split("\n"), 4)

    def fits(arguments: Sequence[tuple[str | None, Tree]]) -> bool:
        return len(text(arguments)) <= _PACKED

    if fits(left):
        return text(left)
    for at, (name, value) in enumerate(left):
        if name is not None and isinstance(value, Made) and (value.path == name or len(typed(value, -WIDTH)) > _LONG):
            given: list[tuple[str | None, Tree]] = [(None, each) for each in value.positional]
            variable = "config" if value.path == name else name  # which would hide the function
            lines += _call(f"{variable} = ", value.path, [*given, *value.keywords])
            left[at] = (name, Typed(variable))
        elif name is not None and isinstance(value, Typed) and len(value.text) > _LONG:
            lines.append(f"    {name} = {value.text}")
            left[at] = (name, Typed(name))
        elif name is not None and isinstance(value, tuple):
            long = [item.text for item in value if isinstance(item, Typed) and len(item.text) > _SUM]
            if len(long) == 1:
                lines.append(f"    {name} = {long[0]}")
                left[at] = (name, tuple(Typed(name) if isinstance(item, Typed) else item for item in value))
    grouped, gathered = lines, left
    for group, members in GROUPS.items():
        own = [(name, value) for name, value in gathered if name in members]
        line = f"    {group} = {{{', '.join(f'"{name}": {typed(value, -WIDTH)}' for name, value in own)}}}"
        if not fits(gathered) and len(own) > 1 and len(line) <= WIDTH:
            grouped = [*grouped, line]
            gathered = [*(each for each in gathered if each not in own), (None, Typed(f"**{group}"))]
    if len(grouped) + len(text(gathered)) < len(lines) + len(text(left)):
        return [*grouped, *text(gathered)]
    return [*lines, *text(left)]
