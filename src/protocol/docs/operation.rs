//! One operation of the HTTP API as the document has it, said in a few words.
//!
//! What all operations of a kind have in common (who may ask, the envelope, what a body or a fault
//! may lead to) is added here, so that the tables beside this file say only what is particular.

use crate::domain::error::Code;
use crate::domain::stream::RULE_NUMBERS;
use crate::protocol::docs::address::path_parameters;
use crate::protocol::docs::refused::{CodeAt, refusal};
use crate::protocol::docs::security;
use crate::protocol::shapes::channels::Detail;
use crate::protocol::shapes::{Acknowledgement, Head, Refusal, SessionHead, SessionRefusal};
use std::collections::BTreeMap;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Deprecated, Header, Ref, RefOr, Required, Response};
use utoipa::{IntoParams, ToSchema};

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody.
    Anybody,
    /// Whoever has a token or a login.
    Asker,
    /// The same, or whoever has a signed token.
    Opener,
    /// Whoever has a token, sent alone.
    Keyholder,
    /// Anybody; a login, if there is one, is what it is about.
    Visitor,
}

/// What a body or an answer looks like: a schema, and those that it refers to.
pub struct Shape {
    schema: RefOr<Schema>,
    named: Vec<(String, RefOr<Schema>)>,
}

/// How an operation is asked.
#[derive(Clone)]
pub enum Method {
    /// As HTTP has it.
    Http(HttpMethod),
    /// flowthings' own; OpenAPI 3.1 has no place for it, so it stands as the extension `x-mget`.
    Mget,
}

impl From<HttpMethod> for Method {
    fn from(method: HttpMethod) -> Self {
        Method::Http(method)
    }
}

/// An operation.
pub struct Operation {
    /// How it is asked.
    pub method: Method,
    /// Where, with names in braces.
    pub path: &'static str,
    /// What code made from the document calls it.
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    who: Who,
    deprecated: Deprecated,
    parameters: Vec<Parameter>,
    body: Option<(Shape, Required)>,
    answers: Vec<(u16, Response)>,
    refusals: Vec<Code>,
    /// Whether a refusal may be that of a request of the session protocol.
    answers_requests: bool,
    /// The schemas it refers to.
    pub named: Vec<(String, RefOr<Schema>)>,
}

/// What anybody may be refused with who has to say who they are.
const ASKERS: &[Code] = &[
    Code::AuthMissing,
    Code::AuthRefused,
    Code::TokenRevoked,
    Code::TokenExpired,
    Code::OriginDenied,
    Code::AddressDenied,
    Code::ServerStopping,
    Code::ServerFault,
];
/// What a body may be refused with.
const BODIES: &[Code] = &[
    Code::BodyMalformed,
    Code::BodyEncoding,
    Code::LimitBody,
    Code::RequestTimeout,
];

impl Shape {
    /// A type by its name.
    pub fn of<T: ToSchema>() -> Self {
        let mut named = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut named);
        let schema = Ref::from_schema_name(T::name()).into();
        Self { schema, named }
    }

    /// An array of them.
    pub fn list_of<T: ToSchema>() -> Self {
        let Self { schema, named } = Self::of::<T>();
        let schema = ArrayBuilder::new().items(schema).into();
        Self { schema, named }
    }

    /// An array of texts.
    pub fn texts() -> Self {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let schema = ArrayBuilder::new().items(text).into();
        let named = Vec::new();
        Self { schema, named }
    }

    /// The type, or null.
    pub fn or_null(self) -> Self {
        let null = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null));
        let schema = OneOfBuilder::new().item(self.schema).item(null).into();
        Self { schema, ..self }
    }

    /// An object with one of them for each name.
    pub fn map_of(self) -> Self {
        let schema = ObjectBuilder::new().additional_properties(Some(self.schema)).into();
        Self { schema, ..self }
    }

    /// This one or another one.
    pub fn or(mut self, other: Self) -> Self {
        let schema = OneOfBuilder::new().item(self.schema).item(other.schema).into();
        self.named.extend(other.named);
        Self { schema, ..self }
    }

    /// A text in a format of its own.
    pub fn text(says: &'static str) -> Self {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let (schema, named) = (text.description(Some(says)).into(), Vec::new());
        Self { schema, named }
    }

    /// One, or an array of one or more.
    pub fn one_or_more<T: ToSchema>() -> Self {
        let Self { schema, named } = Self::of::<T>();
        let array = ArrayBuilder::new().items(schema.clone()).min_items(Some(1));
        let schema = OneOfBuilder::new().item(schema).item(array).into();
        Self { schema, named }
    }
}

impl Operation {
    /// An operation of a tag; what follows says more of it.
    pub fn new(
        tag: &'static str,
        method: impl Into<Method>,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method: method.into(),
            path,
            id,
            tag,
            summary,
            description: None,
            who: Who::Anybody,
            deprecated: Deprecated::False,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            refusals: Vec::new(),
            answers_requests: false,
            named: Vec::new(),
        }
    }

    /// Under this tag, for those who use it already.
    pub fn older(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self.deprecated = Deprecated::True;
        self
    }

    /// Sentences about it.
    pub fn says(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    /// Who may ask.
    pub fn by(mut self, who: Who) -> Self {
        self.who = who;
        if !matches!(who, Who::Anybody | Who::Visitor) {
            self.refusals.extend(ASKERS);
        }
        self
    }

    /// Query parameters.
    pub fn query<Q: IntoParams>(mut self) -> Self {
        self.parameters.extend(Q::into_params(|| Some(ParameterIn::Query)));
        self.refuses(&[Code::QueryMalformed])
    }

    /// The query parameters of a list that is shown in parts.
    pub fn in_pages(self) -> Self {
        let whole = |most: u64| {
            let schema = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
            schema.minimum(Some(0)).maximum(Some(most))
        };
        let (start, limit) = (whole(*RULE_NUMBERS.end()), whole(1_000));
        self.takes(ParameterIn::Query, "start", "How many to pass over (0).", start)
            .takes(ParameterIn::Query, "limit", "How many to show (20).", limit)
            .refuses(&[Code::QueryMalformed])
    }

    /// A header or query parameter that may be sent.
    pub fn takes(
        mut self,
        at: ParameterIn,
        name: &'static str,
        says: &'static str,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(at)
            .required(Required::False)
            .description(Some(says))
            .schema(Some(schema));
        self.parameters.push(parameter.build());
        self
    }

    /// A body that must be sent.
    pub fn body(mut self, shape: Shape) -> Self {
        self.body = Some((shape, Required::True));
        self.refuses(BODIES)
    }

    /// A body that may be sent.
    pub fn optional_body(mut self, shape: Shape) -> Self {
        self.body = Some((shape, Required::False));
        self.refuses(BODIES)
    }

    /// The answer to a success, within the envelope.
    pub fn answers(mut self, status: u16, description: &'static str, shape: Shape) -> Self {
        let head = match self.is_rest() {
            true => Shape::of::<Head>(),
            false => Shape::of::<SessionHead>(),
        };
        let envelope = ObjectBuilder::new()
            .property("head", head.schema)
            .required("head")
            .property("body", shape.schema)
            .required("body");
        self.named.extend(head.named.into_iter().chain(shape.named));
        let content = ContentBuilder::new().schema(Some(envelope)).build();
        let answer = ResponseBuilder::new().description(description);
        self.answers
            .push((status, answer.content("application/json", content).build()));
        self
    }

    /// An answer without envelope.
    pub fn answers_plainly(mut self, status: u16, description: &'static str, kind: &'static str, shape: Shape) -> Self {
        self.named.extend(shape.named);
        let content = ContentBuilder::new().schema(Some(shape.schema)).build();
        let answer = ResponseBuilder::new().description(description);
        self.answers.push((status, answer.content(kind, content).build()));
        self
    }

    /// An answer without any body.
    pub fn answers_nothing(mut self, status: u16, description: &'static str) -> Self {
        self.answers.push((status, Response::new(description)));
        self
    }

    /// A header of the last answer said.
    pub fn with_header(mut self, name: &'static str, description: &'static str, kind: Type) -> Self {
        let schema = ObjectBuilder::new().schema_type(SchemaType::Type(kind));
        let mut header = Header::new(schema.build());
        header.description = Some(description.to_owned());
        if let Some((_, answer)) = self.answers.last_mut() {
            answer.headers.insert(name.to_owned(), header.into());
        }
        self
    }

    /// What else it may be refused with.
    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.refusals.extend(codes);
        self
    }

    /// It answers a request of the session protocol: refusals, too, may be acknowledgements.
    pub fn answers_requests(mut self) -> Self {
        self.answers_requests = true;
        self
    }

    fn is_rest(&self) -> bool {
        self.path.starts_with("/v5.0/") || self.path.starts_with("/{base}/")
    }

    /// How its refusals look, and where their code stands.
    fn refusal_shape(&self) -> (Shape, CodeAt) {
        match self.path {
            path if path.starts_with("/api/v1/") => (Shape::of::<Detail>(), CodeAt::Top),
            _ if self.is_rest() => (Shape::of::<Refusal>(), CodeAt::Head),
            _ if self.answers_requests => {
                let refusal = Shape::of::<SessionRefusal>();
                (refusal.or(Shape::of::<Acknowledgement>()), CodeAt::Head)
            }
            _ => (Shape::of::<SessionRefusal>(), CodeAt::Head),
        }
    }

    /// The operation as the document has it; the schemas it refers to go to `named`.
    pub fn build(mut self, named: &mut BTreeMap<String, RefOr<Schema>>) -> utoipa::openapi::path::Operation {
        let refusals = self.refusals();
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(self.description)
            .deprecated(Some(self.deprecated).filter(|deprecated| *deprecated == Deprecated::True))
            .parameters(Some(path_parameters(self.path)))
            .parameters(Some(self.parameters))
            .securities(Some(security::requirements(self.who, self.path)));
        if let Some((shape, required)) = self.body {
            let content = ContentBuilder::new().schema(Some(shape.schema)).build();
            let body = RequestBodyBuilder::new().content("application/json", content);
            operation = operation.request_body(Some(body.required(Some(required)).build()));
            self.named.extend(shape.named);
        }
        for (status, answer) in self.answers.into_iter().chain(refusals) {
            operation = operation.response(status.to_string(), answer);
        }
        named.extend(self.named);
        operation.build()
    }

    /// Refusals of one status are one answer.
    fn refusals(&mut self) -> Vec<(u16, Response)> {
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in &self.refusals {
            let codes = by_status.entry(code.entry().status).or_default();
            if !codes.contains(code) {
                codes.push(*code);
            }
        }
        let (shape, at) = self.refusal_shape();
        self.named.extend(shape.named);
        let by_status = by_status.into_iter();
        by_status
            .map(|(status, codes)| (status, refusal(&shape.schema, at, &codes)))
            .collect()
    }
}
