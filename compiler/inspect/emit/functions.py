"""Functions of a script: calls of one op with what they all have in common said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from compiler.dialects.ttnn.symbols import Made, Typed, typed, typed_call
from compiler.inspect.emit.lines import indented, signature
from compiler.inspect.emit.statements import OPTIONAL, Key, Statement, Weight
from compiler.inspect.emit.trees import POSITIONS, Path, Tree, is_constant, shown, unify

DEVICE = Typed("self.device")
"""The open device, as methods know it; functions are given it."""
_ENDS = {"input_tensor_b": "weight", "weight": "weight", "weight_tensor": "weight"}
_ENDS |= {"bias": "bias", "bias_tensor": "bias"}
"""How names of weights end, by the parameter."""
LINES = 8
"""Lines that a function must save."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function, with what most calls give."""

    name: str
    default: Tree = None
    has_default: bool = False


@dataclass(frozen=True)
class Function:
    """A function that makes one call of ttnn: the call with its parameters in place of what differs.

    ``tensors`` are the parameters of tensors, which may be left out if in ``without``. With ``named`` the function
    takes all weights and a name, under which it finds those of these parameters: by parameter, the end of the name. If
    the op prepares weights, it keeps what was ``prepared``.
    """

    name: str
    path: str
    tensors: tuple[str, ...]
    without: frozenset[str]
    parameters: tuple[Parameter, ...]
    keywords: tuple[tuple[str, Tree], ...]
    named: tuple[tuple[str, str], ...] = ()
    prepared: bool = False


@dataclass(frozen=True)
class Calls:
    """How statements are called: by the number of the program and of the statement, its function and its arguments."""

    functions: tuple[Function, ...]
    of: Mapping[int, tuple[Function, tuple[tuple[str, Tree], ...]]]


def factored(statements: Sequence[Statement]) -> Calls:
    """Find what calls have in common. ``of`` has them by their identity, ``id(statement)``."""
    clusters: dict[object, list[Statement]] = {}
    for statement in statements:
        if statement.path.startswith("ttnn."):
            clusters.setdefault(_kind(statement), []).append(statement)
    functions: list[Function] = []
    of: dict[int, tuple[Function, tuple[tuple[str, Tree], ...]]] = {}
    for cluster in sorted(clusters.values(), key=lambda cluster: -len(cluster)):
        longest = max(_lines(statement) for statement in cluster)
        if not cluster[0].prepared and (len(cluster) - 1) * (longest - 3) < LINES:
            continue
        taken = {function.name for function in functions}
        base = cluster[0].name
        name = next(each for each in (base, *(f"{base}_{i}" for i in range(2, 99))) if each not in taken)
        function, given = _function(name, cluster)
        functions.append(function)
        of |= {id(statement): (function, arguments) for statement, arguments in zip(cluster, given, strict=True)}
    return Calls(tuple(functions), of)


def _kind(statement: Statement) -> object:
    """What calls must share to be calls of one function."""
    config = dict(statement.keywords).get("program_config")
    names = tuple(name for name, _ in statement.keywords if name not in OPTIONAL)
    tensors = tuple((name, isinstance(at, tuple)) for name, at in statement.parameters if name not in OPTIONAL)
    how = config.path if isinstance(config, Made) else None, base_name(statement) is not None, bool(statement.prepared)
    return statement.path, names, tensors, *how


def base_name(statement: Statement) -> Key | None:
    """The name that a statement's weight and bias share, where all that it reads of weights are these."""
    read = [(name, statement.operands[at]) for name, at in statement.parameters if isinstance(at, int)]
    found = [(name, ref.key) for name, ref in read if isinstance(ref, Weight)]
    ends = {_ENDS.get(name) == key[-1] for name, key in found}
    bases = {repr(key[:-1]) for _, key in found}
    has_weight = any(key[-1] == "weight" for _, key in found)
    others = [name for name, ref in read if name in _ENDS and not isinstance(ref, Weight)]
    return found[0][1][:-1] if ends == {True} and len(bases) == 1 and has_weight and not others else None


def _lines(statement: Statement) -> int:
    tensors = [(name, Typed("tensor")) for name, _ in statement.parameters]
    return typed_call(statement.path, [*tensors, *_shown(statement.keywords)], 16).count("\n") + 1


def _shown(keywords: Iterable[tuple[str, Tree]]) -> list[tuple[str, Tree]]:
    return [(name, shown(value)) for name, value in keywords]


@dataclass
class _Holes:
    """What differs between calls: a parameter for each, and what each call gives. It grows as trees are compared."""

    values: dict[str, tuple[Tree, ...]] = field(default_factory=dict)

    def leaf(self, trees: Sequence[Tree], path: Path) -> Tree:
        given = tuple(trees)
        for name, others in self.values.items():
            if repr(others) == repr(given) and name.rstrip("_0123456789") == path[-1]:
                return Typed(name)
        tried = (path[-1], *(f"{path[-1]}_{i}" for i in range(2, 99)))
        name = next(name for name in tried if name not in self.values)
        self.values[name] = given
        return Typed(name)


def _function(name: str, cluster: Sequence[Statement]) -> tuple[Function, list[tuple[tuple[str, Tree], ...]]]:
    names = list(dict.fromkeys(name for statement in cluster for name, _ in statement.keywords))
    tensors = tuple(dict.fromkeys(name for statement in cluster for name, _ in statement.parameters))
    without = frozenset(name for name in tensors if any(name not in dict(s.parameters) for s in cluster))
    named = {name: _ENDS[name] for name in tensors if name in _ENDS} if base_name(cluster[0]) is not None else {}
    holes, keywords = _Holes(), []
    for keyword in names:
        trees = _completed([dict(statement.keywords).get(keyword, OPTIONAL.get(keyword)) for statement in cluster])
        if trees[0] == DEVICE:
            keywords.append((keyword, Typed(f"{tensors[0]}.device()")))
            continue
        made = unify(trees, holes.leaf, (keyword,), lambda path: path[-1] == "memory_config")
        keywords.append((keyword, _open(made, holes, (keyword,), len(cluster))))
    parameters = [_parameter(hole, values) for hole, values in holes.values.items()]
    parameters.sort(key=lambda parameter: parameter.has_default)
    function = Function(
        name,
        cluster[0].path,
        tuple(name for name in tensors if name not in named),
        without,
        tuple(parameters),
        tuple(keywords),
        tuple(named.items()),
        bool(cluster[0].prepared),
    )
    by_name = {parameter.name: parameter for parameter in parameters}
    given = [
        tuple(
            (hole, values[at])
            for hole, values in holes.values.items()
            if not (by_name[hole].has_default and repr(by_name[hole].default) == repr(values[at]))
        )
        for at in range(len(cluster))
    ]
    return function, given


def _open(tree: Tree, holes: _Holes, path: Path, calls: int) -> Tree:
    """Make parameters of what is the same in all calls and depends on counters, which a function does not know."""
    if is_constant(tree) or (isinstance(tree, Typed) and tree.text in holes.values):
        return tree
    if isinstance(tree, Made) and path[-1] != "memory_config":
        positions = (*POSITIONS.get(tree.path, ()), *("number",) * len(tree.positional))
        given = (_open(value, holes, (*path, n), calls) for n, value in zip(positions, tree.positional, strict=False))
        keywords = ((name, _open(value, holes, (*path, name), calls)) for name, value in tree.keywords)
        return Made(tree.path, tuple(given), tuple(keywords))
    if isinstance(tree, tuple):
        return tuple(_open(item, holes, path, calls) for item in tree)
    return holes.leaf([tree] * calls, path)


def _completed(trees: Sequence[Tree]) -> list[Tree]:
    """Constructors with all keywords that any of them has, those left out being None."""
    if not all(isinstance(tree, Made) for tree in trees) or len({tree.path for tree in trees}) > 1:
        return list(trees)
    names = list(dict.fromkeys(name for tree in trees for name, _ in tree.keywords))
    missing = {name for name in names if any(name not in dict(tree.keywords) for tree in trees)}
    if not missing <= OPTIONAL.keys():
        return list(trees)
    return [
        replace(tree, keywords=tuple((name, dict(tree.keywords).get(name, OPTIONAL.get(name))) for name in names))
        for tree in trees
    ]


def _parameter(name: str, values: Sequence[Tree]) -> Parameter:
    # A list, or what a call makes, is no default: it would be made once, when the script is read.
    counted = Counter(repr(value) for value in values if is_constant(value) and not isinstance(value, Made | tuple))
    if not counted:
        return Parameter(name)
    common, count = counted.most_common(1)[0]
    if count * 2 < len(values) or count < 2:
        return Parameter(name)
    return Parameter(name, next(value for value in values if repr(value) == common), True)


def printed(function: Function) -> list[str]:
    """The function as lines of Python."""
    weights = ["w", "name"] if function.named else []
    first = [f"{name}=None" if name in function.without else name for name in function.tensors]
    keywords = [p.name + (f"={typed(shown(p.default))}" if p.has_default else "") for p in function.parameters]
    header = signature(function.name, [*_in_order(first, weights), *(["*", *keywords] if keywords else [])])
    tensors: list[tuple[str, Tree]] = [(name, Typed(name)) for name in function.tensors]
    for name, end in function.named:
        found = f'w.get(f"{{name}}.{end}")' if name in function.without else f'w[f"{{name}}.{end}"]'
        tensors.append((name, Typed(found)))
    begin = "output, prepared = " if function.prepared else "return "
    call = typed_call(function.path, [*tensors, *_shown(function.keywords)], 4 + len(begin), 4)
    lines = [*header, *indented((begin + call).split("\n"), 4)]
    if function.prepared:
        names = ", ".join(f'f"{{name}}.{end}"' for _, end in function.named)
        lines += [f"    w.update(zip(({names}), prepared))", "    return output"]
    return lines


def _in_order(tensors: Sequence[str], weights: Sequence[str]) -> list[str]:
    required = [name for name in tensors if "=" not in name]
    return [*required, *weights, *(name for name in tensors if "=" in name)]
