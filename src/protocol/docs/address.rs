//! What the names in an operation's address stand for.

use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

/// All of them: name, pattern, description.
const NAMES: &[(&str, &str, &str)] = &[
    ("base", "^(v0\\.1|v4\\.0)$", "`v0.1` or `v4.0`, which are the same."),
    (
        "company",
        "^[a-z0-9_-]{1,64}$",
        "The company whose it is; the asker's own.",
    ),
    ("id", "^[a-z0-9]{1,64}$", "Its id."),
    ("event", "^e[0-9a-f]{24}$", "The event's id."),
    ("name", "^[A-Za-z0-9_.@+-]{1,64}$", "The user's name."),
    ("token", r"^[A-Za-z0-9_.-]{1,2048}$", "The connection token."),
];

/// The parameters of an address with names in braces.
pub fn path_parameters(path: &str) -> Vec<Parameter> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let known = NAMES.iter().find(|(known, ..)| *known == name);
        let (_, pattern, description) = known.unwrap_or(&("", "^.{1,64}$", "Its name."));
        let schema = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .pattern(Some(*pattern));
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(*description))
            .schema(Some(schema))
            .build()
    };
    names.map(parameter).collect()
}
