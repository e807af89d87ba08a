//! Reads `template.yaml` as CloudFormation does, as far as running its functions on this machine needs.
//!
//! Parameters are resolved with their defaults and constraints, conditions and intrinsic functions with them. What
//! comes out is a [`Stack`]: routes, functions with their environment, tables. A construct that is not understood is
//! an error, never a guess.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::stream::StreamSource;

/// Why a template cannot be run.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The file is not YAML.
    #[error("template.yaml is not valid YAML: {0}")]
    Yaml(#[from] saphyr::ScanError),
    /// `--set` names a parameter that the template does not have.
    #[error("the template has no parameter {0}")]
    UnknownParameter(String),
    /// A parameter without a default was not given.
    #[error("parameter {0} has no default and was not set")]
    MissingParameter(String),
    /// A parameter's value breaks a constraint.
    #[error("parameter {name}: '{value}' {problem}")]
    Constraint {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Parameters that do not go together: the words of the template's rule.
    #[error("{0}")]
    Rule(String),
    /// The template says something that the local stack does not understand.
    #[error("template.yaml: {0}")]
    Unsupported(String),
}

fn unsupported(what: impl Into<String>) -> TemplateError {
    TemplateError::Unsupported(what.into())
}

/// A template as it was written, intrinsic functions in their long form (`{"Ref": …}`, `{"Fn::If": […]}`).
#[derive(Clone, Debug)]
pub struct Template(Value);

/// What a template with these parameters deploys.
#[derive(Clone, Debug)]
pub struct Stack {
    /// All parameters with their values.
    pub parameters: BTreeMap<String, String>,
    /// The functions, by folder.
    pub functions: BTreeMap<String, BTreeMap<String, String>>,
    /// The folders of functions, by the name that `!Ref` gives them.
    pub function_names: BTreeMap<String, String>,
    /// The routes of the API.
    pub routes: Vec<Route>,
    /// The folders of functions on a schedule, and how often each runs.
    pub scheduled: Vec<(String, Duration)>,
    /// The functions that tables' streams wake.
    pub streams: Vec<StreamSource>,
    /// The folder of the default authorizer's function.
    pub authorizer: Option<String>,
    /// The API's CORS configuration.
    pub cors: Cors,
    /// The tables.
    pub tables: Vec<Table>,
}

/// A route of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, or `ANY`.
    pub method: String,
    /// `/sessions/{id}`, say.
    pub path: String,
    /// The folder of its function.
    pub folder: String,
    /// Whether the authorizer is asked first.
    pub is_authorized: bool,
}

/// A CORS configuration (`AWS::ApiGatewayV2::Api` `Cors`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Whether credentials are allowed.
    pub allow_credentials: bool,
    /// The origins.
    pub allow_origins: Vec<String>,
    /// The request headers.
    pub allow_headers: Vec<String>,
    /// The methods.
    pub allow_methods: Vec<String>,
    /// The answer's headers that pages may read.
    pub expose_headers: Vec<String>,
    /// Seconds that a preflight's answer may be kept.
    pub max_age: Option<u64>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name: its logical id in the template.
    pub name: String,
    /// Key attributes with their key types (`HASH`, `RANGE`); all are strings.
    pub keys: Vec<(String, String)>,
    /// The TTL attribute.
    pub ttl: Option<String>,
    /// What its stream's records hold; `None` where it has no stream.
    pub stream_view: Option<String>,
}

impl Template {
    /// Reads a template's text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let documents = Yaml::load_from_str(text)?;
        let document = documents.first().ok_or_else(|| unsupported("the file is empty"))?;
        Ok(Self(long_form(document)?))
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0["Parameters"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// What it deploys with these parameters; others have their defaults.
    pub fn resolve(&self, given: &BTreeMap<String, String>) -> Result<Stack, TemplateError> {
        let empty = Map::new();
        let resources = self.0["Resources"].as_object().unwrap_or(&empty);
        let resolver = Resolver {
            parameters: self.resolve_parameters(given)?,
            conditions: self.0.get("Conditions").and_then(Value::as_object),
            resources,
        };
        for (_, rule) in self.0["Rules"].as_object().into_iter().flatten() {
            resolver.check(rule)?;
        }
        let mut deployed = Vec::new();
        for (id, resource) in resources {
            let exists = resource["Condition"].as_str().map_or(Ok(true), |condition| resolver.condition(condition))?;
            if exists {
                deployed.push((id, resource));
            }
        }
        let of_type = |kind: &'static str| {
            let of_type = deployed.iter().filter(move |(_, resource)| resource["Type"] == kind);
            of_type.map(|(id, resource)| (*id, &resource["Properties"]))
        };
        let globals = &self.0["Globals"]["Function"]["Environment"]["Variables"];

        let values = resolver.parameters.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?)));
        let mut stack = Stack {
            parameters: values.collect(),
            functions: BTreeMap::new(),
            function_names: BTreeMap::new(),
            routes: Vec::new(),
            scheduled: Vec::new(),
            streams: Vec::new(),
            authorizer: None,
            cors: Cors::default(),
            tables: Vec::new(),
        };
        let mut folders = BTreeMap::new();
        for (id, properties) in of_type("AWS::Serverless::Function") {
            let code = text(&properties["CodeUri"]).ok_or_else(|| unsupported(format!("{id} has no CodeUri")))?;
            let folder = code.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
            folders.insert(id.clone(), folder.clone());
            stack.function_names.insert(id.clone(), folder.clone());
            let mut environment = BTreeMap::new();
            for variables in [globals, &properties["Environment"]["Variables"]] {
                for (name, value) in variables.as_object().into_iter().flatten() {
                    environment.insert(name.clone(), resolver.text(value)?);
                }
            }
            stack.functions.insert(folder.clone(), environment);
            for (_, event) in properties["Events"].as_object().into_iter().flatten() {
                match event["Type"].as_str() {
                    Some("HttpApi") => stack.routes.push(route(&event["Properties"], &folder, &resolver)?),
                    Some("Schedule") => stack.scheduled.push((folder.clone(), rate(&event["Properties"])?)),
                    Some("DynamoDB") => stack.streams.push(stream(&event["Properties"], &folder)?),
                    // Nothing is published here; tests invoke the function themselves.
                    Some("SNS") => {}
                    kind => return Err(unsupported(format!("{id} has an event of type {kind:?}"))),
                }
            }
        }
        for (_, properties) in of_type("AWS::Serverless::HttpApi") {
            stack.cors = cors(&resolver.resolve(&properties["CorsConfiguration"])?);
            let auth = &properties["Auth"];
            if let Some(name) = auth["DefaultAuthorizer"].as_str() {
                let arn = &auth["Authorizers"][name]["FunctionArn"]["Fn::GetAtt"];
                let function = arn.as_str().and_then(|attribute| attribute.split('.').next());
                let folder = function.and_then(|id| folders.get(id));
                stack.authorizer = Some(folder.ok_or_else(|| unsupported("the authorizer is no function"))?.clone());
            }
        }
        for (id, properties) in of_type("AWS::DynamoDB::Table") {
            stack.tables.push(table(id, properties));
        }
        Ok(stack)
    }

    fn resolve_parameters(&self, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, Value>, TemplateError> {
        let empty = Map::new();
        let declared = self.0["Parameters"].as_object().unwrap_or(&empty);
        if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
            return Err(TemplateError::UnknownParameter(unknown.clone()));
        }
        let mut parameters = BTreeMap::new();
        for (name, declaration) in declared {
            let default = || text(&declaration["Default"]);
            let value = given.get(name).cloned().or_else(default);
            let value = value.ok_or_else(|| TemplateError::MissingParameter(name.clone()))?;
            if let Some(problem) = broken_constraint(declaration, &value)? {
                let value = if declaration["NoEcho"] == true { "…".to_owned() } else { value };
                return Err(TemplateError::Constraint { name: name.clone(), value, problem });
            }
            let value = match declaration["Type"].as_str() {
                Some("CommaDelimitedList") => json!(value.split(',').map(str::trim).collect::<Vec<_>>()),
                _ => json!(value),
            };
            parameters.insert(name.clone(), value);
        }
        Ok(parameters)
    }
}

/// What of a parameter's constraints a value breaks.
fn broken_constraint(declaration: &Value, value: &str) -> Result<Option<String>, TemplateError> {
    let number = value.parse::<f64>();
    if declaration["Type"] == "Number" && number.is_err() {
        return Ok(Some("is not a number".to_owned()));
    }
    let measured = [
        ("MinValue", number.clone().ok(), "is below"),
        ("MaxValue", number.ok(), "is above"),
        ("MinLength", Some(f64_of(value.chars().count())), "is shorter than"),
        ("MaxLength", Some(f64_of(value.chars().count())), "is longer than"),
    ];
    for (constraint, actual, words) in measured {
        if let (Some(bound), Some(actual)) = (declaration[constraint].as_f64(), actual)
            && (if constraint.starts_with("Min") { actual < bound } else { actual > bound })
        {
            return Ok(Some(format!("{words} {bound}")));
        }
    }
    if let Some(pattern) = declaration["AllowedPattern"].as_str() {
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| unsupported(error.to_string()))?;
        // Of a list, each item has to match.
        let is_list = declaration["Type"] == "CommaDelimitedList";
        let matches =
            if is_list { value.split(',').all(|item| regex.is_match(item.trim())) } else { regex.is_match(value) };
        if !matches {
            let words = declaration["ConstraintDescription"].as_str();
            return Ok(Some(words.map_or_else(|| format!("does not match {pattern}"), str::to_owned)));
        }
    }
    if let Some(allowed) = declaration["AllowedValues"].as_array() {
        let allowed: Vec<String> = allowed.iter().filter_map(text).collect();
        if !allowed.iter().any(|one| one == value) {
            return Ok(Some(format!("is none of {}", allowed.join(", "))));
        }
    }
    Ok(None)
}

fn f64_of(length: usize) -> f64 {
    u32::try_from(length).map_or(f64::MAX, f64::from)
}

fn route(properties: &Value, folder: &str, resolver: &Resolver<'_>) -> Result<Route, TemplateError> {
    Ok(Route {
        method: resolver.text(&properties["Method"])?.to_ascii_uppercase(),
        path: resolver.text(&properties["Path"])?,
        folder: folder.to_owned(),
        is_authorized: properties["Auth"]["Authorizer"] != "NONE",
    })
}

/// How often a schedule of `rate(5 minutes)`, say, runs.
fn rate(properties: &Value) -> Result<Duration, TemplateError> {
    let expression = properties["Schedule"].as_str().unwrap_or_default();
    let rate = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')'));
    let rate = rate.and_then(|rate| {
        let (count, unit) = rate.split_once(' ')?;
        let count: u64 = count.parse().ok()?;
        match unit.trim_end_matches('s') {
            "minute" => Some(Duration::from_mins(count)),
            "hour" => Some(Duration::from_hours(count)),
            "day" => Some(Duration::from_hours(count * 24)),
            _ => None,
        }
    });
    rate.ok_or_else(|| unsupported(format!("schedule {expression:?}")))
}

/// A stream that wakes a function.
fn stream(properties: &Value, folder: &str) -> Result<StreamSource, TemplateError> {
    let arn = properties["Stream"]["Fn::GetAtt"].as_str();
    let table =
        arn.and_then(|arn| arn.strip_suffix(".StreamArn")).ok_or_else(|| unsupported("a stream of no table"))?;
    let filters = properties["FilterCriteria"]["Filters"].as_array().into_iter().flatten();
    let filters = filters.map(|filter| {
        let pattern = filter["Pattern"].as_str().unwrap_or_default();
        serde_json::from_str(pattern).map_err(|error| unsupported(format!("filter {pattern:?}: {error}")))
    });
    Ok(StreamSource { folder: folder.to_owned(), table: table.to_owned(), filters: filters.collect::<Result<_, _>>()? })
}

fn cors(configuration: &Value) -> Cors {
    let list =
        |name: &str| -> Vec<String> { configuration[name].as_array().into_iter().flatten().filter_map(text).collect() };
    Cors {
        allow_credentials: configuration["AllowCredentials"] == true,
        allow_origins: list("AllowOrigins"),
        allow_headers: list("AllowHeaders"),
        allow_methods: list("AllowMethods"),
        expose_headers: list("ExposeHeaders"),
        max_age: configuration["MaxAge"].as_u64(),
    }
}

fn table(id: &str, properties: &Value) -> Table {
    let keys = properties["KeySchema"].as_array().into_iter().flatten();
    let ttl = &properties["TimeToLiveSpecification"];
    Table {
        name: id.to_owned(),
        keys: keys.filter_map(|key| Some((text(&key["AttributeName"])?, text(&key["KeyType"])?))).collect(),
        ttl: ttl["AttributeName"].as_str().filter(|_| ttl["Enabled"] == true).map(str::to_owned),
        stream_view: text(&properties["StreamSpecification"]["StreamViewType"]),
    }
}

/// Intrinsic functions, with everything that they refer to.
struct Resolver<'a> {
    parameters: BTreeMap<String, Value>,
    conditions: Option<&'a Map<String, Value>>,
    resources: &'a Map<String, Value>,
}

impl Resolver<'_> {
    /// A value without intrinsic functions. `AWS::NoValue` takes its property away.
    fn resolve(&self, value: &Value) -> Result<Value, TemplateError> {
        Ok(match value {
            Value::Object(map) => match map.iter().next() {
                Some((name, argument)) if map.len() == 1 && is_intrinsic(name) => self.intrinsic(name, argument)?,
                _ => {
                    let members = map.iter().map(|(name, member)| Ok((name.clone(), self.resolve(member)?)));
                    let members: Map<_, _> = members.collect::<Result<_, TemplateError>>()?;
                    Value::Object(members.into_iter().filter(|(_, member)| !member.is_null()).collect())
                }
            },
            Value::Array(items) => {
                let items = items.iter().map(|item| self.resolve(item)).collect::<Result<Vec<_>, _>>()?;
                Value::Array(items.into_iter().filter(|item| !item.is_null()).collect())
            }
            other => other.clone(),
        })
    }

    fn text(&self, value: &Value) -> Result<String, TemplateError> {
        text(&self.resolve(value)?).ok_or_else(|| unsupported(format!("{value} is not a text")))
    }

    fn intrinsic(&self, name: &str, argument: &Value) -> Result<Value, TemplateError> {
        let bad = || unsupported(format!("{name} {argument} is not understood"));
        match name {
            "Ref" => self.reference(argument.as_str().ok_or_else(bad)?),
            "Fn::GetAtt" => Ok(argument.clone()),
            "Fn::Join" => {
                let arguments = self.resolve(argument)?;
                let (separator, items) = (arguments[0].as_str(), arguments[1].as_array());
                let items = items.ok_or_else(bad)?.iter().filter_map(text).collect::<Vec<_>>();
                Ok(json!(items.join(separator.ok_or_else(bad)?)))
            }
            "Fn::Split" => {
                let arguments = self.resolve(argument)?;
                let (separator, text) = (arguments[0].as_str().ok_or_else(bad)?, arguments[1].as_str());
                Ok(json!(text.ok_or_else(bad)?.split(separator).collect::<Vec<_>>()))
            }
            "Fn::Sub" => self.substitute(argument.as_str().ok_or_else(bad)?).map(Value::String),
            "Fn::If" => {
                let branch = if self.condition(argument[0].as_str().ok_or_else(bad)?)? { 1 } else { 2 };
                self.resolve(argument.get(branch).ok_or_else(bad)?)
            }
            "Fn::Equals" => Ok(json!(self.text(&argument[0])? == self.text(&argument[1])?)),
            "Fn::Not" => Ok(json!(self.resolve(&argument[0])? == false)),
            "Fn::And" | "Fn::Or" => {
                let all = self.resolve(argument)?;
                let mut all = all.as_array().ok_or_else(bad)?.iter().map(|one| *one == true);
                Ok(json!(if name == "Fn::And" { all.all(|one| one) } else { all.any(|one| one) }))
            }
            "Condition" => Ok(json!(self.condition(argument.as_str().ok_or_else(bad)?)?)),
            _ => Err(bad()),
        }
    }

    /// A parameter's value; a resource is known by its logical id here.
    fn reference(&self, name: &str) -> Result<Value, TemplateError> {
        Ok(match name {
            "AWS::NoValue" => Value::Null,
            "AWS::Region" => json!("us-east-1"),
            "AWS::Partition" => json!("aws"),
            "AWS::AccountId" => json!("000000000000"),
            "AWS::URLSuffix" => json!("amazonaws.com"),
            "AWS::StackName" => json!("local"),
            _ if self.resources.contains_key(name) => json!(name),
            _ => match self.parameters.get(name) {
                Some(value) => value.clone(),
                None => return Err(unsupported(format!("there is no parameter or resource {name}"))),
            },
        })
    }

    fn substitute(&self, pattern: &str) -> Result<String, TemplateError> {
        let mut result = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| unsupported(format!("Fn::Sub {pattern}")))?;
            result.push_str(before);
            result.push_str(&text(&self.reference(name)?).unwrap_or_default());
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    /// An error in the words of a rule's first assertion that does not hold.
    fn check(&self, rule: &Value) -> Result<(), TemplateError> {
        if rule.get("RuleCondition").is_some() {
            return Err(unsupported("a rule with a condition"));
        }
        for assertion in rule["Assertions"].as_array().into_iter().flatten() {
            if self.resolve(&assertion["Assert"])? != true {
                return Err(TemplateError::Rule(text(&assertion["AssertDescription"]).unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn condition(&self, name: &str) -> Result<bool, TemplateError> {
        let condition = self.conditions.and_then(|conditions| conditions.get(name));
        let condition = condition.ok_or_else(|| unsupported(format!("there is no condition {name}")))?;
        Ok(self.resolve(condition)? == true)
    }
}

fn is_intrinsic(name: &str) -> bool {
    name == "Ref" || name == "Condition" || name.starts_with("Fn::")
}

/// A scalar as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// YAML as JSON, with `!Ref x` as `{"Ref": x}` and `!If […]` as `{"Fn::If": […]}`.
fn long_form(node: &Yaml<'_>) -> Result<Value, TemplateError> {
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => json!(flag),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(items) => Value::Array(items.iter().map(long_form).collect::<Result<_, _>>()?),
        Yaml::Mapping(members) => {
            let mut map = Map::new();
            for (name, member) in members {
                let name = text(&long_form(name)?).ok_or_else(|| unsupported("a key is not a text"))?;
                map.insert(name, long_form(member)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tag, node) => {
            let name = match tag.suffix.as_str() {
                plain @ ("Ref" | "Condition") => plain.to_owned(),
                function => format!("Fn::{function}"),
            };
            json!({ name: long_form(node)? })
        }
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => {
            return Err(unsupported("an alias or a bad value"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real() -> Template {
        Template::parse(include_str!("../../template.yaml")).expect("our own template")
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let required = [("AppUrl", "https://app.test/"), ("MailFrom", "a@app.test"), ("MailIdentity", "app.test")];
        required.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn our_own_template_resolves() {
        let stack = real().resolve(&given(&[("AllowedOrigins", "https://a.test,https://b.test")])).expect("a stack");
        assert_eq!(stack.functions["login"]["BROWSER_IDLE_TIMEOUT"], "1800");
        assert_eq!(stack.functions["me"]["ALLOWED_ORIGINS"], "https://a.test,https://b.test");
        assert_eq!(stack.functions["me"]["TABLE_NAME"], "UsersTable");
        assert_eq!(stack.authorizer.as_deref(), Some("authorizer"));
        assert_eq!(stack.cors.allow_origins, ["https://none.invalid", "https://a.test", "https://b.test"]);
        assert!(stack.cors.allow_credentials);
        assert!(stack.routes.iter().any(|route| route.method == "POST" && route.path == "/signup/resend"));
        let users = stack.tables.iter().find(|table| table.name == "UsersTable").expect("the table");
        assert_eq!(users.ttl.as_deref(), Some("ttl"));
        assert_eq!(users.keys, [("pk".to_owned(), "HASH".to_owned()), ("sk".to_owned(), "RANGE".to_owned())]);
    }

    #[test]
    fn without_origins_nothing_is_allowed() {
        let stack = real().resolve(&given(&[])).expect("a stack");
        assert!(stack.cors.allow_origins.is_empty());
        assert!(!stack.cors.allow_credentials);
    }

    #[test]
    fn origins_of_web_views_are_the_functions_and_not_cors() {
        for (given_origins, cors) in [
            ("capacitor://localhost", &["https://none.invalid"][..]),
            ("capacitor://localhost,ionic://localhost,tauri://localhost", &["https://none.invalid"]),
            (
                "https://a.test,tauri://localhost,http://b.test:8080",
                &["https://none.invalid", "https://a.test", "http://b.test:8080"],
            ),
            ("ionic://localhost,https://a.test", &["https://none.invalid", "https://a.test"]),
        ] {
            let stack = real().resolve(&given(&[("AllowedOrigins", given_origins)])).expect(given_origins);
            assert_eq!(stack.functions["me"]["ALLOWED_ORIGINS"], given_origins);
            assert_eq!(stack.cors.allow_origins, cors, "{given_origins}");
        }
    }

    #[test]
    fn parameters_are_checked_and_named() {
        for (pairs, expected) in [
            (&[("Nope", "1")][..], "the template has no parameter Nope"),
            (&[("ThrottlingRate", "fast")], "ThrottlingRate: 'fast' is not a number"),
            (&[("ThrottlingRate", "0")], "ThrottlingRate: '0' is below 1"),
            (&[("BrowserIdleTimeout", "soon")], "BrowserIdleTimeout: 'soon' has to be a whole number of seconds"),
            (&[("RevocationCheck", "maybe")], "is none of token, session"),
            (&[("AppUrl", "app.test")], "AppUrl: 'app.test' has to be an http or https URL"),
            (&[("KmsKeyArn", "alias/mine")], "KmsKeyArn: 'alias/mine' has to be the ARN of a key"),
            (&[("AlarmEmail", "me")], "AlarmEmail: 'me' does not match"),
        ] {
            let error = real().resolve(&given(pairs)).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = real().resolve(&BTreeMap::new()).expect_err("missing").to_string();
        assert!(error.contains("has no default and was not set"), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let text = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: functions/f\n\
                    \x20     Environment: { Variables: { A: !Cidr [a, b] } }\n";
        let error = Template::parse(text).expect("YAML").resolve(&BTreeMap::new()).expect_err("Cidr");
        assert!(error.to_string().contains("Fn::Cidr"), "{error}");
        let text = text.replace("!Cidr [a, b]", "!Ref Mistyped");
        let error = Template::parse(&text).expect("YAML").resolve(&BTreeMap::new()).expect_err("Mistyped");
        assert!(error.to_string().contains("no parameter or resource Mistyped"), "{error}");
    }
}
