"""Who acts, and how that is known."""

from rowtide.actor import Authentication, claimed_actor


def test_a_claim_is_shown_as_a_claim() -> None:
    actor = claimed_actor("ann", "host")
    assert (actor.name, actor.authentication) == ("ann@host", Authentication.CLAIMED)
    assert str(actor) == "claimed ann@host"
