// The OpenAPI document, readable.

const docs = document.getElementById("docs");

function add(kind, text, parent = docs) {
  const node = document.createElement(kind);
  node.textContent = text;
  parent.append(node);
  return node;
}

function table(rows) {
  const body = add("tbody", "", add("table", ""));
  for (const cells of rows) {
    const row = add("tr", "", body);
    cells.forEach((cell, i) => add(i ? "td" : "th", cell, row));
  }
}

function describe(path, method, operation) {
  add("h2", `${method.toUpperCase()} ${path}`);
  add("p", operation.summary);
  for (const [kind, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
    add("p", `Body: ${kind}`);
    const needed = new Set(schema.required ?? []);
    table(Object.entries(schema.properties).map(([name, field]) => [
      needed.has(name) ? `${name} (required)` : name,
      [field.enum?.join(", ") ?? field.type, field.description].filter(Boolean).join(": "),
    ]));
  }
  add("p", "Answers:");
  table(Object.entries(operation.responses).map(([status, { description }]) => [status, description]));
}

const document_ = await (await fetch("/openapi.json")).json();
add("p", `${document_.info.title} ${document_.info.version}`);
if (document_.security) add("p", "Send an API key as “Authorization: Bearer KEY”.");
for (const [path, item] of Object.entries(document_.paths)) {
  for (const method of ["get", "post", "delete"]) {
    if (item[method]) describe(path, method, item[method]);
  }
}
