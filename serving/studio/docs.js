// The API's description, drawn from the OpenAPI document: operations, their fields, types and bounds.

const make = (tag, text, ...children) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
};

const answer = await fetch("/openapi.json");
const spec = await answer.json();
const follow = (schema) => (schema?.$ref ? spec.components.schemas[schema.$ref.split("/").pop()] : schema) ?? {};

function kind(schema) {
  if (schema.$ref) return kind({ ...follow(schema), title: schema.$ref.split("/").pop(), named: true });
  if (schema.anyOf) return schema.anyOf.map(kind).filter((name) => name !== "null").join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  if (schema.named) return schema.title;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "any";
}

function bounds(schema) {
  const own = schema.anyOf ? schema.anyOf.find((part) => part.type !== "null") ?? {} : schema;
  const told = [["minimum", "≥"], ["maximum", "≤"], ["minItems", "items ≥"], ["maxItems", "items ≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"]]
    .filter(([name]) => own[name] !== undefined).map(([name, sign]) => `${sign} ${own[name]}`);
  if (schema.default !== undefined && typeof schema.default !== "object") told.push(`default ${schema.default}`);
  return told.join(", ");
}

function row(name, schema, required) {
  const own = schema.anyOf ? schema.anyOf.find((part) => part.description) ?? {} : {};
  return make("tr", "", make("td", name + (required ? " *" : "")), make("td", kind(schema)), make("td", bounds(schema)),
    make("td", schema.description ?? own.description ?? ""));
}

function fields(operation) {
  const rows = (operation.parameters ?? []).map((p) => row(p.name, { description: p.description, ...p.schema }, p.required));
  const body = follow(operation.requestBody?.content?.["application/json"]?.schema);
  const expand = (schema, prefix) => {
    for (const [name, part] of Object.entries(schema.properties ?? {})) {
      rows.push(row(prefix + name, part, schema.required?.includes(name)));
      const inner = part.$ref ? follow(part) : part.anyOf?.map((p) => follow(p.items ?? p)).find((p) => p.properties) ?? follow(part.items);
      if (inner?.properties) expand(inner, part.$ref ? `${prefix}${name}.` : `${prefix}${name}[].`);
    }
  };
  expand(body, "");
  if (!rows.length) return "";
  const head = make("tr", "", ...["field", "type", "bound", "meaning"].map((name) => make("th", name)));
  return make("table", "", make("thead", "", head), make("tbody", "", ...rows));
}

const articles = Object.entries(spec.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) =>
  make("article", "", make("h2", "", make("b", method.toUpperCase()), path.replace(":path", "")), make("p", operation.description ?? ""), fields(operation))));
document.getElementById("operations").replaceChildren(...articles);
