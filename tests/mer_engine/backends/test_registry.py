from mer_engine.backends.registry import AUTO, DEFAULT, NAMES, backend, backends


def test_the_names_on_the_command_line_are_those_of_the_backends() -> None:
    assert (AUTO, *(entry.name for entry in backends())) == NAMES
    assert backends()[0].name == DEFAULT
    assert backend("torch").name == "torch"


def test_the_default_is_always_available_and_torch_is_not_automatic() -> None:
    assert backend(DEFAULT).missing() is None
    assert {entry.name for entry in backends() if not entry.automatic} == {"torch"}


def test_a_missing_backend_has_a_reason() -> None:
    for entry in backends():
        reason = entry.missing()
        assert reason is None or len(reason) > 20, entry.name
