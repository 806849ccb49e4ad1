"""The JSON Schema of a model that is written in TOML: for editors, and for messages that name the allowed keys."""

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema


@cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Draft 2020-12, of which it uses what means the same in draft-07: editors know the one or the other."""
    return {"$schema": _InToml.schema_dialect, **model.model_json_schema(schema_generator=_InToml)}


class _InToml(GenerateJsonSchema):
    """Without null, which TOML does not have, and without titles that only say the key again."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        if isinstance(schema.get("default"), str | int | float):
            return super().default_schema(schema)
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:
        return False
