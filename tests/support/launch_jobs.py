"""What platforms do to the texts of a manifest, as their sources say."""


def expand(text: str, variables: dict[str, str]) -> str:
    """Kubernetes' `Expand`, third_party/forked/golang/expansion/expand.go."""
    out, at = [], 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out.append(text[at])
            at += 1
        elif text[at + 1] == "$":
            out.append("$")
            at += 2
        elif text[at + 1] == "(" and ")" in text[at + 2 :]:
            end = text.index(")", at + 2)
            name = text[at + 2 : end]
            out.append(variables.get(name, f"$({name})"))
            at = end + 1
        else:
            out.append(text[at : at + 2])
            at += 2
    return "".join(out)


def arrived(container: dict, platform: dict[str, str]) -> tuple[list, dict]:
    """Arguments and environment that a container's process gets.

    Variables are expanded in their order, each with those before it.
    """
    variables = dict(platform)
    for variable in container["env"]:
        if "value" in variable:
            value = expand(variable["value"], variables)
            variables[variable["name"]] = value
    return [expand(word, variables) for word in container["args"]], variables
