"""The compiled module as bytes, `HloModuleProto`, and the few of its fields that costs are read from.

The numbers are those of xla/service/hlo.proto and xla/xla_data.proto; no package without TensorFlow brings them. Protocol
buffers never give a number to another field, so that the table holds for every version of JAX.
"""

from typing import Any

from lst_jax.core.protobuf import FIELD, message_class

INTEGER, STRING, BYTES = FIELD.TYPE_INT64, FIELD.TYPE_STRING, FIELD.TYPE_BYTES


def _fields(**fields: tuple[int, Any]) -> dict[str, tuple[int, Any, None]]:
    return {name: (number, kind, None) for name, (number, kind) in fields.items()}


MESSAGES = {
    "Module": _fields(entry_computation_id=(6, INTEGER), computations=(3, "Computation"), schedule=(7, "Schedule")),
    "Schedule": _fields(sequences=(1, "SequenceEntry")),
    "SequenceEntry": _fields(key=(1, INTEGER), value=(2, "Sequence")),
    "Sequence": _fields(instruction_ids=(1, INTEGER)),
    "Computation": _fields(name=(1, STRING), instructions=(2, "Instruction"), id=(5, INTEGER), root_id=(6, INTEGER)),
    "Instruction": _fields(
        name=(1, STRING),
        opcode=(2, STRING),
        shape=(3, "Shape"),
        metadata=(7, "Metadata"),
        literal=(8, "Literal"),
        parameter_number=(9, INTEGER),
        tuple_index=(13, INTEGER),
        window=(15, "Window"),
        convolution_dimension_numbers=(16, "ConvolutionDimensions"),
        channel_id=(26, INTEGER),
        custom_call_target=(28, STRING),
        dot_dimension_numbers=(30, "DotDimensions"),
        gather_slice_sizes=(34, INTEGER),
        id=(35, INTEGER),
        operand_ids=(36, INTEGER),
        called_computation_ids=(38, INTEGER),
        backend_config=(43, BYTES),
        replica_groups=(49, "ReplicaGroup"),
        scatter_dimension_numbers=(48, "ScatterDimensions"),
        feature_group_count=(50, INTEGER),
        source_target_pairs=(52, "SourceTarget"),
        batch_group_count=(58, INTEGER),
        comparison_direction=(63, STRING),
        frontend_attributes=(68, "FrontendAttributes"),
        collective_device_list=(87, "DeviceList"),
        iota_collective_device_list=(92, "IotaGroups"),
        mesh_axes_replica_group_list=(93, "MeshGroups"),
    ),
    "Shape": _fields(
        element_type=(2, INTEGER), dimensions=(3, INTEGER), tuple_shapes=(4, "Shape"), layout=(5, "Layout")
    ),
    "Layout": _fields(minor_to_major=(1, INTEGER), tiles=(6, "Tile"), memory_space=(8, INTEGER)),
    "Tile": _fields(dimensions=(1, INTEGER)),
    "Metadata": _fields(op_name=(2, STRING)),
    "Literal": _fields(
        preds=(2, FIELD.TYPE_BOOL),
        s32s=(4, FIELD.TYPE_INT32),
        s64s=(5, INTEGER),
        u32s=(6, FIELD.TYPE_UINT32),
        u64s=(7, FIELD.TYPE_UINT64),
    ),
    "Window": _fields(window_dimensions=(1, "WindowDimension")),
    "WindowDimension": _fields(
        size=(1, INTEGER),
        stride=(2, INTEGER),
        padding_low=(3, INTEGER),
        window_dilation=(5, INTEGER),
        base_dilation=(6, INTEGER),
    ),
    "ConvolutionDimensions": _fields(
        kernel_output_feature_dimension=(4, INTEGER),
        kernel_spatial_dimensions=(6, INTEGER),
        input_batch_dimension=(7, INTEGER),
        input_feature_dimension=(8, INTEGER),
        output_feature_dimension=(10, INTEGER),
        input_spatial_dimensions=(11, INTEGER),
        output_spatial_dimensions=(12, INTEGER),
    ),
    "DotDimensions": _fields(lhs_contracting_dimensions=(1, INTEGER)),
    "ScatterDimensions": _fields(update_window_dims=(1, INTEGER)),
    "ReplicaGroup": _fields(replica_ids=(1, INTEGER)),
    "SourceTarget": _fields(source=(1, INTEGER), target=(2, INTEGER)),
    "DeviceList": _fields(replica_groups=(1, "ReplicaGroup")),
    "IotaGroups": _fields(
        num_replica_groups=(1, INTEGER),
        num_devices_per_group=(2, INTEGER),
        iota_reshape_dims=(3, INTEGER),
        iota_transpose_perm=(4, FIELD.TYPE_INT32),
    ),
    "MeshGroups": _fields(mesh=(1, "Mesh"), axes=(2, "AxisPart")),
    "Mesh": _fields(axes=(1, "MeshAxis"), device_ids=(2, INTEGER), iota_transform=(3, "IotaTransform")),
    "MeshAxis": _fields(size=(2, INTEGER)),
    "IotaTransform": _fields(reshape_dims=(1, INTEGER), transpose_perm=(2, INTEGER)),
    "AxisPart": _fields(mesh_axis_index=(1, INTEGER), sub_axis_info=(2, "SubAxis")),
    "SubAxis": _fields(pre_size=(1, INTEGER), size=(2, INTEGER)),
    "FrontendAttributes": _fields(map=(1, "AttributeEntry")),
    "AttributeEntry": _fields(key=(1, STRING), value=(2, STRING)),
}
REPEATED = (
    "axes",
    "computations",
    "device_ids",
    "dimensions",
    "called_computation_ids",
    "gather_slice_sizes",
    "input_spatial_dimensions",
    "instruction_ids",
    "instructions",
    "iota_reshape_dims",
    "iota_transpose_perm",
    "kernel_spatial_dimensions",
    "lhs_contracting_dimensions",
    "map",
    "minor_to_major",
    "operand_ids",
    "output_spatial_dimensions",
    "preds",
    "reshape_dims",
    "replica_groups",
    "replica_ids",
    "s32s",
    "s64s",
    "sequences",
    "source_target_pairs",
    "tiles",
    "transpose_perm",
    "tuple_shapes",
    "u32s",
    "update_window_dims",
    "u64s",
    "window_dimensions",
)
# `PrimitiveType` of xla_data.proto
ELEMENT_TYPES = {
    1: "pred", 2: "s8", 3: "s16", 4: "s32", 5: "s64", 6: "u8", 7: "u16", 8: "u32", 9: "u64", 10: "f16", 11: "f32",
    12: "f64", 14: "opaque", 15: "c64", 16: "bf16", 17: "token", 18: "c128", 19: "f8e5m2", 20: "f8e4m3fn", 21: "s4",
    22: "u4", 23: "f8e4m3b11fnuz", 24: "f8e5m2fnuz", 25: "f8e4m3fnuz", 26: "s2", 27: "u2", 28: "f8e4m3", 29: "f8e3m4",
    30: "s1", 31: "u1", 32: "f4e2m1fn", 33: "f8e8m0fnu",
}  # fmt: skip
TUPLE = 13

Module = message_class("lst_jax.hlo", MESSAGES, "Module", REPEATED)
