"""Protocol buffer messages from a table of the fields that are read, where no package brings their schema."""

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto  # ty: ignore[missing-attribute]


def message_class(
    package: str,
    messages: Mapping[str, Mapping[str, tuple[int, Any, str | None]]],
    root: str,
    repeated: Collection[str] = (),
) -> type[message.Message]:
    """The class of the message `root`; fields that the table lacks are skipped when bytes are read.

    Args:
        package: a name of our own, so that nothing else has registered these messages.
        messages: message -> field -> (number, type, default); a type is one of `FIELD.TYPE_*` or a message's name.
        repeated: names of the fields that hold lists, in whichever message.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")  # ty: ignore[missing-attribute]
    for name, fields in messages.items():
        described = file.message_type.add(name=name)
        for field, (number, kind, absent) in fields.items():
            label = FIELD.LABEL_REPEATED if field in repeated else FIELD.LABEL_OPTIONAL
            one = described.field.add(name=field, number=number, label=label, default_value=absent)
            if isinstance(kind, str):
                one.type, one.type_name = FIELD.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                one.type = kind
    pool = descriptor_pool.DescriptorPool()  # ty: ignore[possibly-missing-implicit-call]
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{root}"))
