"""What can be asked of the service, for people? A page made of the OpenAPI document.

Our own template rather than Swagger UI: that is 1.5 MB of script and styles that a strict Content-Security-Policy
forbids, and shows nothing without JavaScript.
"""

import json
import shlex
from urllib.parse import quote

from flask import render_template

from service import schemas

MOST_CHOICES = 8  # of an enum that are told
ONE_LINE = 76  # characters of JSON that need no second line


def render(document, url):
    """Render the page.

    Parameters
    ----------
    document : dict
        As of `service.openapi.document`.
    url : str
        Of the service, as the browser sees it, with a slash at its end.

    Returns
    -------
    str
        HTML.
    """
    pages = Pages(document, url)
    return render_template(
        "docs.html",
        info=document["info"],
        groups=[
            {**tag, "operations": [each for each in pages.operations if each["tag"] == tag["name"]]}
            for tag in document["tags"]
        ],
        parameters=pages.shared_parameters,
        statuses=pages.shared_statuses,
    )


class Pages:
    """What the page shows of a document.

    Parameters
    ----------
    document : dict
    url : str

    Attributes
    ----------
    operations : list of dict
        What is shown of each: ``method``, ``path``, ``summary``, ``description``, ``parameters``, ``bodies`` (tables of
        fields), ``examples`` (each with ``title``, ``command`` and ``answer``), ``statuses``.
    shared_parameters, shared_statuses : list of dict
        What all operations have, which is shown once.
    """

    def __init__(self, document, url):
        self.document, self.url = document, url
        found = [
            (method.upper(), path, item, item[method])
            for path, item in document["paths"].items()
            for method in ("get", "post")
            if method in item
        ]
        parameters = [self._parameters(item, operation) for _, _, item, operation in found]
        statuses = [self._statuses(operation) for _, _, _, operation in found]
        self.shared_parameters = _in_all(parameters)
        self.shared_statuses = _in_all(statuses)
        self.operations = [
            {
                "id": operation["operationId"],
                "tag": operation["tags"][0],
                "method": method,
                "path": path,
                "summary": operation["summary"],
                "description": operation.get("description", ""),
                "parameters": [each for each in own if each not in self.shared_parameters],
                "statuses": [each for each in told if each not in self.shared_statuses],
                "bodies": self._bodies(operation),
                "examples": self._examples(method, path, item, operation),
            }
            for (method, path, item, operation), own, told in zip(found, parameters, statuses, strict=True)
        ]

    def resolved(self, part):
        """Follow a reference, if it is one.

        Parameters
        ----------
        part : dict
            Of the document.

        Returns
        -------
        dict
        """
        if "$ref" not in part:
            return part
        found = self.document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return found | {name: value for name, value in part.items() if name != "$ref"}

    def _parameters(self, item, operation):
        found = map(self.resolved, [*operation.get("parameters", ()), *item.get("parameters", ())])
        return [
            {
                "name": each["name"],
                "where": {"query": "in the query", "path": "in the path", "header": "a header"}[each["in"]],
                "kind": self.kind(each["schema"]),
                "needed": each.get("required", False),
                "text": each.get("description", ""),
            }
            for each in found
        ]

    def _statuses(self, operation):
        return [
            {
                "status": status,
                "text": self.resolved(response)["description"],
                "media": ", ".join(self._media(response)),
            }
            for status, response in operation["responses"].items()
        ]

    def _media(self, response):
        return self.resolved(response).get("content", {})

    def _bodies(self, operation):
        """Tables of fields, of what is asked and of what is answered, where these are objects."""
        asked = operation.get("requestBody", {}).get("content", {})
        answered = self._media(operation["responses"]["200"])
        tables = []
        for title, content in (("Request", asked), ("Response", answered)):
            schema = content.get("application/json", {}).get("schema", {})
            rows = list(self.fields(schema))
            if rows:
                tables.append({"title": title, "kind": self.kind(schema), "rows": rows})
        return tables

    # --------------------------------------------------------------------------------------------- the schemas

    def fields(self, schema, path=""):
        """Lay out the fields of a schema, those of fields within.

        Parameters
        ----------
        schema : dict
        path : str
            Of the schema's own field.

        Yields
        ------
        dict
            ``name``, such as ``inputs[0].data``, ``kind``, ``text``, and whether it is ``needed``.
        """
        schema = self.resolved(schema)
        if "anyOf" in schema:
            yield from self.fields(schema["anyOf"][0], path)
        elif "prefixItems" in schema and any("properties" in each for each in schema["prefixItems"]):
            yield from self.fields(schema["prefixItems"][0], f"{path}[0]")
        elif "items" in schema:
            yield from self.fields(schema["items"], f"{path}[]")
        for name, part in schema.get("properties", {}).items():
            if part != schemas.NEVER:
                own = f"{path}.{name}" if path else name
                text = self.resolved(part).get("description", "")
                needed = name in schema.get("required", ())
                yield {"name": own, "kind": self.kind(part), "text": text, "needed": needed}
                yield from self.fields(part, own)

    def kind(self, schema):
        """Say what a schema takes.

        Parameters
        ----------
        schema : dict

        Returns
        -------
        str
            Such as ``number above 0 or null``.
        """
        schema = self.resolved(schema)
        if "anyOf" in schema:
            return " or ".join(dict.fromkeys(map(self.kind, schema["anyOf"])))
        if "const" in schema:
            return _json(schema["const"])
        if "enum" in schema:
            return _choices(schema["enum"])
        types = schema.get("type", "anything")
        types = [types] if isinstance(types, str) else types
        return " or ".join(self._kind_of_type(schema, each) for each in types)

    def _kind_of_type(self, schema, name):
        if name in ("number", "integer"):
            return (name if name == "number" else "whole number") + _limits(schema)
        if name == "array":
            return self._list(schema)
        return {"boolean": "true or false", "string": schema.get("format", "text"), "null": "null"}.get(name, name)

    def _list(self, schema):
        least, most = schema.get("minItems"), schema.get("maxItems")
        size = "" if most is None else f" of {most:,}" if least == most else f" of {least:,} to {most:,}"
        if "prefixItems" in schema:
            return f"list{size}"
        item = self.kind(schema["items"])
        return f"list{size or ' of'} {'objects' if item == 'object' else item}"

    # -------------------------------------------------------------------------------------------- the examples

    def _examples(self, method, path, item, operation):
        """Commands, each with its answer where one is told."""
        for each in map(self.resolved, item.get("parameters", ())):
            if each["in"] == "path":
                path = path.replace(f"{{{each['name']}}}", quote(each["schema"]["enum"][0], safe=""))
        command = f"curl -s {shlex.quote(self.url + path[1:])}"
        if "security" in operation:
            command += ' \\\n  -H "Authorization: Bearer $MLOPS_API_KEY"'
        answered = self._media(operation["responses"]["200"])
        if method == "GET":
            answer = next(_told(media) for media in answered.values())[0]
            return [{"title": "With curl", "command": command, "answer": answer}]
        examples = []
        for media_type, media in operation["requestBody"]["content"].items():
            header = f" \\\n  -H 'Content-Type: {media_type}'"
            flag = "-d" if media_type == "application/json" else "--data-binary"
            answers = _told(answered.get(media_type, {}))
            for number, body in enumerate(filter(None, _told(media))):
                several = ", several rows" if number else ""
                answer = answers[number] if number < len(answers) else ""
                body = body.replace("\n", "\n  ") if media_type == "application/json" else body
                asking = f"{command}{header} \\\n  {flag} {shlex.quote(body)}"
                examples.append({"title": f"With curl, {media_type}{several}", "command": asking, "answer": answer})
        return examples


def _in_all(lists):
    """What stands in each of several lists."""
    return [each for each in lists[0] if all(each in others for others in lists)]


def _told(media):
    """The examples of a media type, as text; "" where there is none."""
    examples = [each["value"] for each in media.get("examples", {}).values()] or [media.get("example", "")]
    return [each if isinstance(each, str) else _json(each) for each in examples]


def _json(value, before=0):
    """Write JSON, what fits in a line in one; so many characters stand before it."""
    text = json.dumps(value, ensure_ascii=False)
    if before + len(text) <= ONE_LINE or not isinstance(value, (dict, list)):
        return text
    indent = before + 2
    if isinstance(value, list):
        parts, (left, right) = [_json(each, indent) for each in value], "[]"
    else:
        parts, (left, right) = [f"{_json(key)}: {_json(each, indent)}" for key, each in value.items()], "{}"
    lines = ",\n".join(parts).replace("\n", "\n  ")
    return f"{left}\n  {lines}\n{right}"


def _choices(values):
    told = [json.dumps(value, ensure_ascii=False) for value in values[:MOST_CHOICES]]
    more = f", ... ({len(values):,} in all)" if len(values) > MOST_CHOICES else ""
    return ("one of " if len(values) > 1 else "") + ", ".join(told) + more


def _limits(schema):
    """Say the limits that a person may meet: not that of a billion standard deviations."""
    if schema.get("exclusiveMinimum") == 0:
        return " above 0"
    found = [f" {word} {schema[key]:,}" for key, word in {"minimum": "from", "maximum": "to"}.items() if key in schema]
    return "".join(found)
