"""What a script defines first: short names of ttnn's long objects."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.dialects.ttnn.symbols import Made, Named, Typed, typed
from compiler.inspect.emit.lines import signature
from compiler.inspect.emit.trees import Tree, rewritten

MEMORIES = {"ttnn.L1_MEMORY_CONFIG": "L1", "ttnn.DRAM_MEMORY_CONFIG": "DRAM"}
"""What the script calls memories."""
FIDELITY = "HIFI4"
"""What the script calls the one compute configuration of all calls."""
TILES = "TILES"
"""What the script calls the place of most weights: tiles of bfloat16 in DRAM."""


@dataclass
class Definitions:
    """What the script defines before its classes: short names of long objects, by name. It grows as calls are read."""

    device: DeviceSpec
    known: dict[str, Made | Named] = field(default_factory=dict)

    def short(self, tree: Tree) -> Tree:
        """A tree with its long objects replaced by what the script calls them."""
        return rewritten(tree, self._short)

    def _short(self, tree: Tree) -> Tree:
        match tree:
            case Made("ttnn.init_device_compute_kernel_config"):
                return self._named(FIDELITY, tree)
            case Named(path) if path in MEMORIES:
                return self._named(MEMORIES[path], tree)
            case Made("ttnn.UnaryWithParam", (Named(path),)):
                return self._named(path.rpartition(".")[2], tree)
            case Made("ttnn.UnaryWithParam", (Named(path), parameter)):
                name = path.rpartition(".")[2].lower()
                self.known.setdefault(name, tree)
                return Made(name, (parameter,))
            case Made("ttnn.MemoryConfig", (Named(layout), _, Made(_, (Made(_, (cores, *_)), tuple(shape), _)))):
                name = layout.rpartition(".")[2].lower() + ("_dram" if "DRAM" in repr(tree) else "")
                self.known.setdefault(name, tree)
                return Made(name, (cores, *shape))
            case _:
                return tree

    def _named(self, name: str, tree: Made | Named) -> Named:
        known = self.known.setdefault(name, tree)
        assert known == tree, "one plan has one compute configuration"
        return Named(name)


def printed(definitions: Definitions) -> list[str]:
    """The definitions as lines of Python."""
    lines: list[str] = []
    for name, tree in sorted(definitions.known.items(), key=lambda item: item[0] == FIDELITY):
        if name.isupper():
            lines += f"{name} = {typed(tree, len(name) + 3)}".split("\n")
    lines.append(f"{TILES} = (ttnn.bfloat16, ttnn.TILE_LAYOUT, DRAM)")
    for name, tree in definitions.known.items():
        if isinstance(tree, Made) and not name.isupper():
            lines += ["", "", *(_sharded(name, tree) if "sharded" in name else _activation(name, tree))]
    return lines


def _activation(name: str, made: Made) -> list[str]:
    """A function for an activation with a parameter."""
    given: Tree = (made.positional[0], Typed("slope"))
    text = typed(Made(made.path, given))
    return [*signature(name, ["slope"]), f"    return {text}"]


def _sharded(name: str, made: Made) -> list[str]:
    """A function for memory that is dealt out in shards: on so many cores, or banks, of so many rows and columns."""
    layout, buffer, shards = made.positional
    assert isinstance(shards, Made)
    places, _, orientation = shards.positional
    assert isinstance(places, Made)
    cores: Tree = (Typed("cores"), *places.positional[1:])
    grid = Made(places.path, cores, places.keywords)
    spec: Tree = (Typed("grid"), (Typed("rows"), Typed("columns")), orientation)
    memory: Tree = (layout, buffer, Typed("shards"))
    return [
        *signature(name, ["cores", "rows", "columns"]),
        f"    grid = {typed(grid)}",
        f"    shards = {typed(Made(shards.path, spec))}",
        f"    return {typed(Made(made.path, memory))}",
    ]
