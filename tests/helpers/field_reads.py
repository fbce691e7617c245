"""Which fields of the configuration code reads, found in its syntax trees by following the types of expressions.

An expression has the type of a schema's class where that follows from annotations, assignments, loops and calls of
functions with annotated results. `x.steps` counts as a read of `TrainConfig.steps` only if `x` is a `TrainConfig`; an
attribute `steps` of any other object does not.
"""

import ast
import pathlib
import re
from collections import defaultdict
from collections.abc import Iterable

from lst_jax.config.fields import declared

PASSES = 2  # over a module, so that an attribute may be used above the assignment that gives its type
Read = tuple[str, str]  # class and field, or class and method
Names = dict[str, set[str]]


def schema_classes(root: type) -> dict[str, type]:
    """The root's class and those of all sub-configurations, by name."""
    found = {root.__name__: root}
    for field in declared(root):
        for inner in field.inner:
            found |= schema_classes(inner)
    return found


def fields_never_read(root: type, schema_file: pathlib.Path, files: Iterable[pathlib.Path]) -> set[Read]:
    """The fields that hold values and that none of the `files` reads, neither itself nor by a method of the schema."""
    classes = schema_classes(root)
    trees = [ast.parse(path.read_text()) for path in files]
    known = _Known(classes, trees)
    reads = {read for tree in trees for read in known.reads(tree)}
    schema_tree = ast.parse(schema_file.read_text())
    for node in (n for n in schema_tree.body if isinstance(n, ast.ClassDef) and n.name in classes):
        for method in (n for n in node.body if isinstance(n, ast.FunctionDef) and (node.name, n.name) in reads):
            own = {a.arg: known.annotated(a.annotation) for a in method.args.args}
            reads |= known.reads(method, own | {"self": {node.name}})
    leaves = {(name, f.name) for name, kind in classes.items() for f in declared(kind) if not f.inner}
    return leaves - reads


class _Known:
    """The types of attributes and of functions' results in some code."""

    def __init__(self, classes: dict[str, type], trees: list[ast.Module]):
        self.classes = classes
        self.inner = {
            (name, f.name): {kind.__name__ for kind in f.inner} for name, c in classes.items() for f in declared(c)
        }
        self.attributes: Names = defaultdict(set)  # of classes outside the schema, by the attribute's name
        self.results: Names = defaultdict(set)
        self.class_fields: Names = defaultdict(set)  # the names that classes annotate, by the class
        for node in (node for tree in trees for node in ast.walk(tree)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.results[node.name] |= self.annotated(node.returns)
            elif isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                        self.attributes[item.target.id] |= self.annotated(item.annotation)
                        self.class_fields[node.name].add(item.target.id)
        for _ in range(PASSES - 1):
            for tree in trees:
                self.reads(tree)

    def annotated(self, annotation: ast.expr | None) -> set[str]:
        """The schema's classes in an annotation, such as `Config` in `cfg.Config | None`."""
        words = set(re.findall(r"\w+", ast.unparse(annotation))) if annotation is not None else set()
        return words & self.classes.keys()

    def reads(self, node: ast.AST, names: Names | None = None) -> set[Read]:
        """What the code of a module or a function reads, given the types of the names around it."""
        scope = _Scope(self, dict(names or {}), {})
        for child in ast.iter_child_nodes(node):
            scope.visit(child)
        return scope.found


class _Scope(ast.NodeVisitor):
    """The names of one module or function, and what is read there and in the functions inside."""

    def __init__(self, known: _Known, names: Names, words: Names):
        self.known, self.names, self.words, self.found = known, names, words, set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        own = {a.arg: self.known.annotated(a.annotation) for a in arguments}
        inside = _Scope(self.known, self.names | own, dict(self.words))
        for child in node.body:
            inside.visit(child)
        self.found |= inside.found

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            self.found |= {(kind, node.attr) for kind in self.types(node.value)}

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self.types(node)  # finds what a getattr reads

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self.bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self.learn(node.target, self.known.annotated(node.annotation))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self.bind(node.target, node.value)

    def visit_For(self, node: ast.For | ast.comprehension) -> None:
        self.learn(node.target, self.within(node.iter))
        if isinstance(node.target, ast.Name):
            self.words[node.target.id] = self.literals(node.iter)
        self.generic_visit(node)

    visit_comprehension = visit_For

    def visit_ListComp(self, node: ast.AST) -> None:
        for generator in node.generators:
            self.visit(generator)
        self.generic_visit(node)

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, other in zip(target.elts, value.elts, strict=False):
                self.bind(one, other)
        else:
            self.learn(target, self.types(value))
            if isinstance(target, ast.Name):
                self.words[target.id] = self.literals(value)

    def learn(self, target: ast.expr, types: set[str]) -> None:
        if isinstance(target, ast.Tuple):
            for one in target.elts:
                self.learn(one, types)
        elif isinstance(target, ast.Name):
            self.names[target.id] = self.names.get(target.id, set()) | types
        elif isinstance(target, ast.Attribute):
            self.known.attributes[target.attr] |= types

    def within(self, node: ast.expr) -> set[str]:
        """The types of the largest parts of an expression that have one, as of `sources` in `enumerate(sources)`."""
        return self.types(node) or set().union(
            *(self.within(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
        )

    def types(self, node: ast.expr) -> set[str]:
        """The schema's classes that an expression's value, or the items of it, may have."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, set())
        if isinstance(node, ast.Attribute):
            owners = self.types(node.value)
            if owners:
                return set().union(*(self.known.inner.get((owner, node.attr), set()) for owner in owners))
            return self.known.attributes.get(node.attr, set())
        if isinstance(node, (ast.Subscript, ast.Starred, ast.Await, ast.NamedExpr)):
            return self.types(node.value)
        if isinstance(node, ast.IfExp):
            return self.types(node.body) | self.types(node.orelse)
        if isinstance(node, ast.BoolOp):
            return set().union(*map(self.types, node.values))
        return self.types_of_call(node) if isinstance(node, ast.Call) else set()

    def types_of_call(self, node: ast.Call) -> set[str]:
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if name in self.known.classes:
            return {name}
        if name == "replace" and node.args:
            return self.types(node.args[0])
        if name == "getattr" and node.args:
            return self.read_by_getattr(node)
        return self.known.results.get(name, set())

    def read_by_getattr(self, node: ast.Call) -> set[str]:
        """`getattr(x, name)` reads the fields that `name` may be, as far as `literals` knows them."""
        reads = {(owner, word) for owner in self.types(node.args[0]) for word in self.literals(node.args[1])}
        self.found |= reads
        return set().union(*(self.known.inner.get(read, set()) for read in reads))

    def literals(self, node: ast.expr) -> set[str]:
        """The words that an expression's value, or the items of it, may be: written out, or the `_fields` of a class."""
        if isinstance(node, ast.Constant):
            return {node.value} if isinstance(node.value, str) else set()
        if isinstance(node, (ast.Tuple, ast.List)):
            return set().union(*map(self.literals, node.elts))
        if isinstance(node, ast.Dict):
            return set().union(*(self.literals(key) for key in node.keys if key is not None))
        if isinstance(node, ast.Name):
            return self.words.get(node.id, set())
        if isinstance(node, ast.Subscript):
            return self.literals(node.value)
        if isinstance(node, ast.Attribute) and node.attr == "_fields" and isinstance(node.value, ast.Name):
            return self.known.class_fields[node.value.id]
        return set()
