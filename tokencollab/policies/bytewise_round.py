"""One round of bytewise voting: what follows from an event until the next answer is needed (docs/specification.md
section 9).

Bytes are decided and held without any message until a model's boundary moves; then they are committed,
because a question can only be asked about committed text, and every model that moved is asked at the end of
the text. Where all tokenizers agree this is one `Commit` per token. A step, as exit policies see it, is one
advance of the base's boundary, so it may span several commits where a collaborator moves inside a token of
the base.

Everybody waits for everybody: the next byte is decided when no question is open. Models are always visited in
the order of their names, so neither the order of delivery nor that of the collaborators changes anything.
"""

from collections.abc import Sequence
from typing import Final

from tokencollab.policies.bytewise_branch import EOS_SYMBOL
from tokencollab.policies.bytewise_decision import certain, choose, decisive_in, misses, scores_of
from tokencollab.policies.bytewise_turn import Place, Turn
from tokencollab.policies.bytewise_voter import (
    Row,
    Voter,
    after_byte,
    at_prior,
    backing,
    committed,
    fresh,
    row_of,
    settle,
    weighed,
)
from tokencollab.policies.evidence import STAY, Evidence, Verdict
from tokencollab.policies.session import including

FADED: Final = 1e-100
"""When every weight is below this they are scaled up together: only their ratios matter."""


class Round(Turn):
    """Lives within one call of `BytewisePolicy.step`: see `advance`."""

    __slots__ = ()

    def advance(self) -> None:
        """Decide bytes until a model has to be asked or the answer is over."""
        while self.phase == "together":
            for voter in self.voters:
                if voter.question is not None or voter.marginals:
                    return
            if self.unsettled:
                self._settle()
            elif not (self._take_agreed() or self._take_undisputed()):
                self._decide()

    def _take_agreed(self) -> bool:
        """Take all that is left of a piece at once where every model gives most of its mass to the same rest.

        Let u be the rest, and let every model's best piece end with it and have more than max(commit, 1 - commit)
        (a half at least) of all the mass D that may follow its pending bytes. Then each byte of u is every model's
        own first choice, whatever was not listed and whatever the weights are; before the end of u the piece is
        longer and any other is less, so nobody moves; at the end the piece is exact and all that is longer is
        less, so everybody does, and no weight is carried. Byte by byte it would come to the same.
        """
        settings = self.settings
        if not settings.greedy:
            return False
        length = self.length
        agreed = b""
        for voter in self.voters:
            branch = voter.branch
            if not branch.pieces:
                return False
            piece, mass = branch.pieces[0]
            if mass <= settings.most * (branch.listed + branch.unlisted):
                return False
            rest = piece[length - branch.boundary :]
            if agreed and rest != agreed:
                return False
            agreed = rest
        self.tail += agreed
        self.held += len(agreed)
        self.length = length = length + len(agreed)
        stood = self.voters
        names = [voter.name for voter in stood]
        self.voters = tuple([fresh(v.name, v.prior, v.prior, length, v.rank, v.misses) for v in stood])
        self._commit(stood, names)
        return True

    def _take_undisputed(self) -> bool:
        """Take the next byte without counting votes where every model gives more than half of its mass D to it.

        It is then the choice whatever was not listed and whatever the weights are, and nobody's first choice is
        another. `_decide` would come to the same.
        """
        if not self.settings.greedy:
            return False
        length = self.length
        leading = self.voters[0].branch
        if not leading.pieces:
            return False
        byte = leading.pieces[0][0][length - leading.boundary]
        voters = []
        weighty = False
        for voter in self.voters:
            after = backing(voter, length, byte)
            if after is None:
                return False
            weighty = weighty or voter.low > 0.0
            voters.append(after)
        if weighty:
            self._hold(byte, voters)
        return weighty

    def _decide(self) -> None:
        """Choose the next byte, or ask for the marginals that decide it."""
        length, sampling, carry = self.length, self.settings.sampling, self.settings.method.carry
        rows = [row_of(voter, length, carry) for voter in self.voters]
        scores = scores_of(rows)
        chosen = choose(scores, sampling, length + 1) if scores else None
        sure = chosen is not None and certain(rows, scores, chosen, sampling, length + 1)
        if not sure and self._ask_what_matters(rows):
            return
        if chosen is None or scores[chosen] <= 0.0:
            self._without_votes(rows)
        else:
            self._take(chosen, rows)

    def _ask_what_matters(self, rows: Sequence[Row]) -> bool:
        """Ask for what the next byte hangs on: first the unlisted mass, then the debts; False if all is
        known."""
        voting = [voter for voter, row in zip(self.voters, rows, strict=True) if row.high > 0.0]
        doubtful = {voter.name: [self._place(voter)] for voter in voting if voter.branch.unlisted > 0.0}
        if not doubtful and self.settings.method.carry:
            doubtful = {voter.name: debts for voter in voting if (debts := voter.open_debts)}
        if not doubtful:
            return False
        self.ask_marginals(doubtful)
        return True

    def _place(self, voter: Voter) -> Place:
        """Where ``voter`` stands, and what is pending there."""
        boundary = voter.branch.boundary
        return boundary, self.tail[len(self.tail) - (self.length - boundary) :]

    def _without_votes(self, rows: Sequence[Row]) -> None:
        """No model that has a weight votes for anything: the others start again from their priors."""
        if any(row.weight <= 0.0 < row.listed + row.unlisted for row in rows):
            self.voters = tuple([at_prior(voter) for voter in self.voters])
        else:
            self.stop("failed")

    def _take(self, chosen: int, rows: Sequence[Row]) -> None:
        """Hold ``chosen`` and let every model follow; EOS is committed at once."""
        length = self.length
        voters = []
        dissent = False
        for voter, row in zip(self.voters, rows, strict=True):
            missed = misses(row, chosen)
            dissent = dissent or missed
            voters.append(after_byte(voter, length, chosen, missed))
        if dissent and self.settings.exit.needs_decisive:  # where all agree, the others alone agree too
            self.decisive |= {self.voters[index].name for index in decisive_in(rows, chosen)}
        if chosen == EOS_SYMBOL:
            stood, self.voters = self.voters, tuple(voters)
            self._commit(stood, (), ended=True)
            return
        self._hold(chosen, voters)

    def _hold(self, byte: int, voters: Sequence[Voter]) -> None:
        """Add ``byte`` to what is decided; ``voters`` have followed."""
        self.voters = tuple(voters)
        self.tail += bytes((byte,))
        self.length += 1
        self.held += 1
        self.unsettled = True

    def _settle(self) -> None:
        """After a byte: who moves to the end of the text, and is asked there?"""
        method, length = self.settings.method, self.length
        stood, tail = self.voters, self.tail
        doubtful: dict[str, list[Place]] = {}
        voters, moved = [], []
        for voter in stood:
            settled = settle(voter, length, tail, method)
            if settled is None:
                doubtful[voter.name] = [self._place(voter)]
                continue
            voters.append(settled.voter)
            if settled.moved:
                moved.append(voter.name)
        if doubtful:
            self.ask_marginals(doubtful)
            return
        self.unsettled = False
        self.voters = tuple(voters)
        if moved:
            self._commit(stood, moved)

    # ------------------------------------------------------------ commit

    def _commit(self, stood: Sequence[Voter], moved: Sequence[str], ended: bool = False) -> None:
        """Commit what is held, or EOS; let the exit policy see it if the base's boundary moved; ask those that
        ``moved``.

        ``stood`` are the voters before the boundaries moved.
        """
        closes = ended or self.roster.counted in moved
        verdict = self._observe() if closes else STAY
        self.release(stood, verdict, ended)
        if ended:
            self.stop("end")
        elif self.committed == self.settings.max_tokens:
            self.stop("length")
        elif verdict.alone and (not verdict.until or len(moved) == len(self.voters)):  # nobody is within a piece
            self.exit_now(verdict)
        else:
            self._go_on(moved, verdict.out - {self.roster.base}, closes)

    def _observe(self) -> Verdict:
        """Close the base's step: the evidence of all bytes since its last boundary."""
        self.advances += 1
        verdict = STAY
        base = self.roster.base
        if base in self.roster.live:
            ranks = tuple(
                [(v.name, None if v.rank is None else v.rank + v.misses) for v in self.voters],
            )
            evidence = Evidence(self.advances, base, ranks, self.decisive)
            self.exit, verdict = self.settings.exit.observe(self.exit, evidence)
        self.decisive = frozenset()
        return verdict

    def _go_on(self, moved: Sequence[str], out: frozenset[str], closes: bool) -> None:
        """Ask those that moved and those that join; where all moved the weights are the priors again."""
        staying = [voter for voter in self.voters if voter.name not in out] if out else self.voters
        common = {voter.name for voter in staying}.issubset(moved)
        voters = []
        for voter in staying:
            rank = 0 if closes else None if voter.rank is None else voter.rank + voter.misses
            voters.append(committed(voter, common, rank))
        if out:
            roster = self.roster
            live = tuple([model for model in roster.live if model not in out])
            self.roster = roster._replace(live=live, left=including(roster.left, *out))
        asked = moved
        if self.roster.joining:
            asked = (*moved, *self.roster.joining)
            voters = self._joined(voters, closes)
        if not common:
            voters = refreshed(voters)
        oldest = min([voter.branch.boundary for voter in voters])
        self.tail = self.tail[len(self.tail) - (self.length - oldest) :]
        self.ask(voters, asked)

    def _joined(self, voters: list[Voter], closes: bool) -> list[Voter]:
        """``voters`` and the joining models, each with its prior's part of the weight that is there now."""
        weight_of = self.settings.method.weight_of
        mass = priors = 0.0
        for voter in voters:
            priors += voter.prior
            whole = voter.branch.listed if voter.branch.boundary < self.length else 1.0
            mass += voter.weight * whole
        per_prior = mass / priors
        rank = 0 if closes else None
        for name in self.roster.joining:
            prior = weight_of(name)
            voters.append(fresh(name, prior, prior * per_prior, self.length, rank))
        self.roster = self.roster._replace(live=including(self.roster.live, *self.roster.joining), joining=())
        return sorted(voters)  # by name, which is the first field and of one voter only


def refreshed(voters: list[Voter]) -> list[Voter]:
    """``voters`` with their weights scaled up together where all of them have faded."""
    highest = max([voter.high for voter in voters])
    if not 0.0 < highest < FADED:
        return voters
    return [weighed(voter, voter.start / highest, voter.debts) for voter in voters]
