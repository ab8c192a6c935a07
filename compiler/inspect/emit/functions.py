"""Functions of a script: calls of one op with what they all have in common said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from compiler.dialects.ttnn.symbols import Made, Typed, typed_call
from compiler.inspect.emit.names import WEIGHTED, joined
from compiler.inspect.emit.statements import OPTIONAL, Input, Key, Statement, Weight
from compiler.inspect.emit.trees import (
    POSITIONS,
    SHORT,
    Path,
    Tree,
    follows_from_others,
    is_constant,
    resolved,
    rewritten,
    shown,
    unify,
)

DEVICE = Typed("self.device")
"""The open device, as methods know it; functions are given it."""
_ENDS = {"input_tensor_b": "weight", "weight": "weight", "weight_tensor": "weight"}
_ENDS |= {"bias": "bias", "bias_tensor": "bias"}
"""How names of weights end, by the parameter."""
TOGETHER = ({"out_subblock_h", "per_core_M"}, {"out_subblock_w", "per_core_N"})
"""Parameters that may be one, where all calls give them the same number."""
BETTER = ("per_core_M", "per_core_N")
"""Names of parameters that say more than others of the same numbers."""
CONFIGURED = 3
"""Arguments of objects for which a function is worth while."""
POSITIONAL = 3
"""Arguments that may go without their names."""
_TENSOR = "hidden_states"
"""A tensor's name that is as long as most."""
_COLUMNS = 12
"""Columns in which most calls begin."""


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
    takes all weights and a name, under which it finds those of these parameters: by parameter, the end of the name;
    but those in ``given`` a call may give itself. If the op prepares weights, it keeps what was ``prepared``.
    ``names`` has what the function calls ttnn's parameters. ``through`` is a function that makes the call for it, with
    what that is given: see ``preparing``.
    """

    name: str
    path: str
    tensors: tuple[str, ...]
    without: frozenset[str]
    parameters: tuple[Parameter, ...]
    keywords: tuple[tuple[str, Tree], ...]
    named: tuple[tuple[str, str], ...] = ()
    given: tuple[str, ...] = ()
    prepared: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    through: tuple[str, tuple[Tree, ...]] | None = None

    @property
    def positional(self) -> tuple[str, ...]:
        """Parameters that calls give by position: one or two that no call leaves out."""
        required = tuple(parameter.name for parameter in self.parameters if not parameter.has_default)
        return required if len(required) <= POSITIONAL else ()


@dataclass(frozen=True)
class Calls:
    """How statements are called: by the number of the program and of the statement, its function and its arguments."""

    functions: tuple[Function, ...]
    of: Mapping[int, tuple[Function, tuple[tuple[str, Tree], ...]]]


def factored(statements: Sequence[Statement], lines_of: Callable[[Function], int]) -> Calls:
    """Find what calls have in common, where functions save lines. ``of`` has calls by identity, ``id(statement)``."""
    clusters: dict[object, list[Statement]] = {}
    for statement in statements:
        if statement.path.startswith("ttnn."):
            clusters.setdefault(_kind(statement), []).append(statement)
    functions: list[Function] = []
    of: dict[int, tuple[Function, tuple[tuple[str, Tree], ...]]] = {}
    for cluster in sorted(clusters.values(), key=lambda cluster: -len(cluster)):
        taken = {function.name for function in functions}
        base = cluster[0].name
        name = next(each for each in (base, *(f"{base}_{i}" for i in range(2, 99))) if each not in taken)
        function, given = _function(name, cluster)
        saved = sum(_lines(statement) - 1 for statement in cluster) - lines_of(function) - 2
        if not function.prepared and (saved < 0 or len(cluster) == 1):
            continue
        functions.append(function)
        of |= {id(statement): (function, arguments) for statement, arguments in zip(cluster, given, strict=True)}
    configs, changed = _configs(functions)
    of = {key: (changed[function.name], arguments) for key, (function, arguments) in of.items()}
    return Calls((*configs, *changed.values()), of)


def _configs(functions: Sequence[Function]) -> tuple[list[Function], dict[str, Function]]:
    """Functions that make what several functions are configured by, and the functions that call them."""
    several: dict[tuple[str, str], dict[str, Made]] = {}
    for function in functions:
        for name, value in function.keywords:
            if isinstance(value, Made) and len(value.keywords) > CONFIGURED:
                several.setdefault((name, value.path), {})[function.name] = value
    changed = {function.name: function for function in functions}
    made: list[Function] = []
    for (name, path), configs in several.items():
        if len(configs) < 2 or any(function.name == name for function in made):
            continue
        holes = _Holes()
        config = unify([*configs.values()], holes.leaf, (name,))
        if not isinstance(config, Made):
            continue
        made.append(Function(name, path, (), frozenset(), tuple(map(Parameter, holes.values)), config.keywords))
        for at, caller in enumerate(configs):
            call = Made(name, tuple(values[at] for values in holes.values.values()))
            keywords = tuple((n, call if n == name else value) for n, value in changed[caller].keywords)
            changed[caller] = replace(changed[caller], keywords=keywords)
    return made, changed


def _kind(statement: Statement) -> object:
    """What calls must share to be calls of one function."""
    config = dict(statement.keywords).get("program_config")
    names = tuple(name for name, _ in statement.keywords if name not in OPTIONAL)
    tensors = tuple((name, isinstance(at, tuple)) for name, at in statement.parameters if name not in OPTIONAL)
    follows = tuple(name for name, value in statement.keywords if follows_from_others(value))
    how = config.path if isinstance(config, Made) else None, named_base(statement) is not None, bool(statement.prepared)
    return statement.path, names, tensors, follows, *how


def base_name(statement: Statement) -> Key | None:
    """The name that a statement's weight has, and its bias in most cases, but for the end."""
    read = [(name, statement.operands[at]) for name, at in statement.parameters if isinstance(at, int)]
    weights = (ref for name, ref in read if _ENDS.get(name) == "weight")
    return next((ref.key[:-1] for ref in weights if isinstance(ref, Weight) and ref.key[-1] == "weight"), None)


def named_base(statement: Statement) -> Key | None:
    """The name by which a function finds a statement's weights."""
    return base_name(statement) if statement.name in WEIGHTED else None


def gives_bias(statement: Statement) -> bool:
    """Whether the bias of a statement is not the one under its weight's name."""
    places = [at for name, at in statement.parameters if _ENDS.get(name) == "bias" and isinstance(at, int)]
    base = base_name(statement)
    return any(base is None or statement.operands[at] != Weight((*base, "bias")) for at in places)


def _lines(statement: Statement) -> int:
    texts = [f'w["{joined(ref.key)}"]' if isinstance(ref, Weight | Input) else _TENSOR for ref in statement.operands]
    tensors = [(n, Typed(texts[at] if isinstance(at, int) else "[]")) for n, at in statement.parameters]
    given = resolved(statement.keywords, dict.fromkeys((name for name, _ in tensors), _TENSOR))
    shown_ = [(name, shown(value)) for name, value in given]
    return typed_call(statement.path, [*tensors, *shown_], _COLUMNS + 9, _COLUMNS, packed=True).count("\n") + 1


@dataclass
class _Holes:
    """What differs between calls: a parameter for each, and what each call gives. It grows as trees are compared.

    ``taken`` are names that tensors have.
    """

    taken: frozenset[str] = frozenset()
    values: dict[str, tuple[Tree, ...]] = field(default_factory=dict)
    better: dict[str, str] = field(default_factory=dict)

    def named(self, tree: Tree) -> Tree:
        """A tree whose parameters are called after what says most."""
        return rewritten(tree, lambda p: Typed(self.better.get(p.text, p.text)) if isinstance(p, Typed) else p)

    def leaf(self, trees: Sequence[Tree], path: Path) -> Tree:
        given, wanted = tuple(trees), SHORT.get(path[-1], path[-1])
        for name, others in self.values.items():
            if repr(others) == repr(given) and {name.rstrip("_0123456789"), wanted} in ({wanted}, *TOGETHER):
                if wanted in BETTER and wanted not in self.values:
                    self.better[name] = wanted
                return Typed(name)
        tried = (wanted, *(f"{wanted}_{i}" for i in range(2, 99)))
        name = next(name for name in tried if name not in self.values and name not in self.taken)
        self.values[name] = given
        return Typed(name)


def _function(name: str, cluster: Sequence[Statement]) -> tuple[Function, list[tuple[tuple[str, Tree], ...]]]:
    keys = list(dict.fromkeys(name for statement in cluster for name, _ in statement.keywords))
    keys.sort(key=lambda key: key == "padding")  # which may follow from others
    tensors = tuple(dict.fromkeys(name for statement in cluster for name, _ in statement.parameters))
    without = frozenset(name for name in tensors if any(name not in dict(s.parameters) for s in cluster))
    named = {n: _ENDS[n] for n in tensors if n in _ENDS} if named_base(cluster[0]) is not None else {}
    given_bias = any(gives_bias(s) for s in cluster)
    given = tuple(name for name, end in named.items() if end == "bias" and given_bias)
    own = tuple(name for name in tensors if name not in named)
    names = {each: SHORT.get(each, each) for each in own} | dict.fromkeys(given, "bias")
    if named and own:
        names[own[0]] = "x"
    holes, keywords = _Holes(frozenset((*names.values(), *(("w", "name") if named else ())))), []
    for keyword in keys:
        trees = _completed([dict(statement.keywords).get(keyword, OPTIONAL.get(keyword)) for statement in cluster])
        if trees[0] == DEVICE:
            keywords.append((keyword, Typed(f"{names[tensors[0]]}.device()")))
            continue
        made = unify(trees, holes.leaf, (keyword,), lambda path: path[-1] == "memory_config")
        keywords.append((keyword, _open(made, holes, (keyword,), len(cluster))))
    keywords = [(keyword, holes.named(value)) for keyword, value in keywords]
    holes.values = {holes.better.get(hole, hole): values for hole, values in holes.values.items()}
    parameters = [_parameter(hole, values) for hole, values in holes.values.items()]
    parameters.sort(key=lambda parameter: parameter.has_default)
    lists = {p.name for p in parameters if p.has_default and p.default is None and _is_list(holes.values[p.name])}
    keywords = [(n, _or_nothing(value, lists)) for n, value in resolved(keywords, names)]
    function = Function(
        *(name, cluster[0].path, own, without | frozenset(given), tuple(parameters), tuple(keywords)),
        named=tuple(named.items()),
        given=given,
        prepared=bool(cluster[0].prepared),
        names=names,
    )
    by_name = {parameter.name: parameter for parameter in parameters}
    arguments = [
        tuple((hole, values[at]) for hole, values in holes.values.items() if not _is_default(by_name[hole], values[at]))
        for at in range(len(cluster))
    ]
    return function, arguments


def _is_default(parameter: Parameter, value: Tree) -> bool:
    return parameter.has_default and repr(parameter.default) == repr(value or None if value == () else value)


def _is_list(values: Sequence[Tree]) -> bool:
    return any(isinstance(value, tuple) for value in values)


def _or_nothing(value: Tree, lists: set[str]) -> Tree:
    return Typed(f"{value.text} or []") if isinstance(value, Typed) and value.text in lists else value


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
    # A list, or what a call makes, is no default: it would be made once, when the script is read. None is no items.
    values = [None if value == () else value for value in values]
    counted = Counter(repr(value) for value in values if is_constant(value) and not isinstance(value, Made | tuple))
    if not counted:
        return Parameter(name)
    common, count = counted.most_common(1)[0]
    if count * 2 < len(values) or count < 2:
        return Parameter(name, None, any(value is None for value in values))
    return Parameter(name, next(value for value in values if repr(value) == common), True)
