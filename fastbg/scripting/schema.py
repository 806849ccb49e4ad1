"""The JSON Schema of a model in TOML, for editors and for the allowed keys in messages."""

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema


@cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema in draft 2020-12, with only the keywords that draft-07 has too: editors support one of them."""
    return {"$schema": _InToml.schema_dialect, **model.model_json_schema(schema_generator=_InToml)}


class _InToml(GenerateJsonSchema):
    """Generates a schema without null, which TOML does not have, and without titles that repeat the key."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        if isinstance(schema.get("default"), str | int | float):
            return super().default_schema(schema)
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:
        return False
