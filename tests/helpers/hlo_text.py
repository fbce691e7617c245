"""Programs written as HLO text, through XLA's own parser."""

from jaxlib import _hlo  # ty: ignore[missing-module-member]

from lst_jax.cost import hlo

HEADER = "HloModule test, is_scheduled=true\n\n"
ADD = """%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

"""


def program(text):
    """The program of a module's text; one without a header has none of XLA's options."""
    if not text.startswith("HloModule"):
        text = HEADER + (ADD if "to_apply=%add" in text else "") + text
    return hlo.parse(_hlo.hlo_module_from_text(text).as_serialized_hlo_module_proto())
