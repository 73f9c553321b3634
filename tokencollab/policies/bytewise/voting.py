"""The course of a vote on bytes (docs/specification.md section 9).

Bytes are decided and held without any message until a model's boundary moves; then they are committed,
because a question can only be asked about committed text, and every model that moved is asked at the end of
the text. Where all tokenizers agree this is one `Commit` per token. A step, as exit policies see it, is one
advance of the base's boundary, so it may span several commits where a collaborator moves inside a token of
the base.

Everybody waits for everybody: the next byte is decided when no question is open. Models are always visited in
the order of their names, so neither the order of delivery nor that of the collaborators changes anything.

The text is that of the same rule over the models' full vocabularies, whatever ``top_k`` is: what unlisted mass could
change (a byte, a move of a boundary, a carried weight) is decided after one more round trip, for which the model only
looks up what it has computed already (`RequestMarginals`; it has to go back one token where a weight is asked for that
was carried past a boundary).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal, NamedTuple, TypeAlias

from tokencollab.policies.bytewise.branch import EOS_SYMBOL
from tokencollab.policies.bytewise.decision import certain, choose, decisive_in, misses, scores_of
from tokencollab.policies.bytewise.voter import (
    ByteVotes,
    Voter,
    after_byte,
    answered,
    at_prior,
    backing,
    committed,
    fresh,
    questioned,
    row_of,
    settle,
    weighed,
    with_marginals,
    within_piece,
)
from tokencollab.policies.events import CandidatesArrived, MarginalsArrived, RequestCandidates, RequestMarginals
from tokencollab.policies.methods import Method, sampling_of
from tokencollab.policies.turn import Turn
from tokencollab.policies.voting import NOBODY, DecidedPiece, Ranks, VoteAnswer
from tokencollab.protocol.pieces import EOS

FADED: Final = 1e-100
"""When every weight is below this they are scaled up together: only their ratios matter."""

Place: TypeAlias = tuple[int, bytes]
"""A boundary and the bytes pending there."""


class ByteVote(NamedTuple):
    """The state of a vote on bytes.

    ``voters`` are sorted by name. ``length`` bytes are decided, those after the machine's ``offset`` are held; ``tail``
    has the last ones, from the smallest boundary on. ``unsettled``: for the last byte it is not known yet whose
    boundary moves. ``decisive`` are the models without which one of the bytes since the base's last boundary would have
    been another.
    """

    voters: tuple[Voter, ...]
    tail: bytes
    length: int
    unsettled: bool = False
    decisive: frozenset[str] = frozenset()


class ByteVoting:
    """Bytewise voting: see `voting.Voting`. A single model follows the same rule."""

    single: ClassVar[bool] = True

    def __init__(self, method: Method, seed: int, needs_decisive: bool) -> None:
        """``needs_decisive``: the exit policy reads `Evidence.decisive`."""
        self.method = method
        self.sampling = sampling_of(method, seed)
        self.needs_decisive = needs_decisive
        self.greedy = method.top_t == (1, 1)
        self.most = max(method.commit, 1.0 - method.commit)

    def begin(self, turn: Turn) -> None:
        """Ask all live members at the end of the text, with their priors."""
        length, weight_of = turn.offset, self.method.weight_of
        voters = [fresh(name, weight_of(name), weight_of(name), length) for name in turn.live]
        turn.vote = ByteVote(self._asked(turn, voters, turn.live, length), b"", length)

    def answered(self, vote: ByteVote, event: VoteAnswer) -> ByteVote | None:
        """Note candidates, or marginals."""
        model, number = event.model, event.question
        for index, voter in enumerate(vote.voters):
            if voter.name == model:
                told: Voter | None = None
                if isinstance(event, CandidatesArrived):
                    if voter.question == number:
                        told = answered(voter, event.candidates)
                elif isinstance(event, MarginalsArrived):
                    told = with_marginals(voter, number, vote.length, event.exact, event.end, event.following)
                if told is not None:
                    return ByteVote((*vote.voters[:index], told, *vote.voters[index + 1 :]), *vote[1:])
        return None

    def waits(self, vote: ByteVote) -> bool:
        """Whether a question is open."""
        return waiting(vote.voters)

    def advance(self, turn: Turn) -> DecidedPiece | Literal["nobody"] | None:
        """Decide bytes until a boundary moves or a model has to be asked."""
        count = Count(self, turn)
        decision = count.run()
        turn.vote = count.done()
        return decision

    def without(self, turn: Turn, model: str) -> ByteVote:
        """The vote without ``model``; where the others have a common boundary they vote with their priors."""
        vote: ByteVote = turn.vote
        voters = [voter for voter in vote.voters if voter.name != model]
        there = [voter for voter in voters if voter.branch.boundary == vote.length]
        if is_common(len(voters), there):
            voters = [at_prior(voter) if voter in there else within_piece(voter) for voter in voters]
        return vote._replace(voters=tuple(voters))

    def flush(self, turn: Turn) -> DecidedPiece | None:
        """The bytes that are held."""
        vote: ByteVote = turn.vote
        if vote.length == turn.offset:
            return None
        held = vote.tail[turn.offset - vote.length :]
        return DecidedPiece(held, ranks_of(vote.voters), None, offsets=offsets_of(vote.voters, turn.offset))

    def go_on(self, turn: Turn, decision: DecidedPiece, joined: tuple[str, ...]) -> None:
        """Ask those that moved and those that join; where all moved the weights are the priors again."""
        vote: ByteVote = turn.vote
        live, asked, closes = turn.live, decision.moved, decision.evidence is not None
        staying = vote.voters
        if len(staying) > len(live) - len(joined):
            staying = tuple([voter for voter in staying if voter.name in live])
        common = decision.common or is_common(len(staying), [voter for voter in staying if voter.name in asked])
        voters = []
        for voter in staying:
            rank = 0 if closes else None if voter.rank is None else voter.rank + voter.misses
            there = common and (decision.common or voter.name in asked)
            after = committed(voter, there, rank)
            voters.append(within_piece(after) if common and not there else after)
        if joined:
            asked = (*asked, *joined)
            voters = self._joined(voters, joined, turn.offset, 0 if closes else None)
        if not common:
            voters = refreshed(voters)
        oldest = min([voter.branch.boundary for voter in voters])
        tail = vote.tail[len(vote.tail) - (turn.offset - oldest) :]
        voters_asked = self._asked(turn, voters, asked, turn.offset)
        turn.vote = ByteVote(voters_asked, tail, turn.offset, False, frozenset() if closes else vote.decisive)

    def _asked(self, turn: Turn, voters: Sequence[Voter], names: Sequence[str], length: int) -> tuple[Voter, ...]:
        """``voters``, those called ``names`` asked for candidates at the end of the text."""
        asked = []
        number, k = turn.questions, self.method.top_k
        for voter in voters:
            if voter.name in names:
                turn.commands.append(RequestCandidates(voter.name, number, length, k))
                asked.append(questioned(voter, number))
                number += 1
            else:
                asked.append(voter)
        turn.questions = number
        return tuple(asked)

    def _joined(self, voters: list[Voter], names: Sequence[str], length: int, rank: int | None) -> list[Voter]:
        """``voters`` and the joining models, each with its prior's part of the weight that is there now."""
        weight_of = self.method.weight_of
        mass = priors = 0.0
        for voter in voters:
            priors += voter.prior
            whole = voter.branch.listed if voter.branch.boundary < length else 1.0
            mass += min(voter.weight * whole, voter.cap)
        per_prior = mass / priors
        for name in names:
            prior = weight_of(name)
            voters.append(fresh(name, prior, prior * per_prior, length, rank))
        return sorted(voters)  # by name, which is the first field and of one voter only


class Count:
    """A `ByteVote` while it is changed. Lives within one call of `ByteVoting.advance`."""

    __slots__ = ("decisive", "length", "tail", "turn", "unsettled", "voters", "voting")

    def __init__(self, voting: ByteVoting, turn: Turn) -> None:
        self.voting = voting
        self.turn = turn
        self.voters: tuple[Voter, ...]
        self.voters, self.tail, self.length, self.unsettled, self.decisive = turn.vote

    def done(self) -> ByteVote:
        """The state of the vote."""
        return ByteVote(self.voters, self.tail, self.length, self.unsettled, self.decisive)

    def run(self) -> DecidedPiece | Literal["nobody"] | None:
        """Decide bytes until there is a decision, or a model has to be asked (None)."""
        made: DecidedPiece | Literal["nobody"] | None
        while True:
            if self.unsettled:
                made = self._settle()
            else:
                made = self._take_agreed()
                if made is None and not self._take_undisputed():
                    made = self._decide()
            if made is not None or waiting(self.voters):
                return made

    def _take_agreed(self) -> DecidedPiece | None:
        """Take all that is left of a piece at once where every model gives most of its mass to the same rest.

        Let u be the rest, and let every model's best piece end with it and have more than max(commit, 1 - commit)
        (a half at least) of all the mass D that may follow its pending bytes. Then each byte of u is every model's
        own first choice, whatever was not listed and whatever the weights are; before the end of u the piece is
        longer and any other is less, so nobody moves; at the end the piece is exact and all that is longer is
        less, so everybody does, and no weight is carried. Byte by byte it would come to the same.
        """
        voting = self.voting
        if not voting.greedy:
            return None
        length = self.length
        agreed = b""
        for voter in self.voters:
            branch = voter.branch
            if not branch.pieces:
                return None
            piece, mass = branch.pieces[0]
            if mass <= voting.most * (branch.listed + branch.unlisted):
                return None
            rest = piece[length - branch.boundary :]
            if agreed and rest != agreed:
                return None
            agreed = rest
        self.tail += agreed
        self.length = length = length + len(agreed)
        stood = self.voters
        names = tuple([voter.name for voter in stood])
        self.voters = tuple([fresh(v.name, v.prior, v.prior, length, v.rank, v.misses) for v in stood])
        return self._decision(stood, names)

    def _take_undisputed(self) -> bool:
        """Take the next byte without counting votes where every model gives more than half of its mass D to it.

        It is then the choice whatever was not listed and whatever the weights are, and nobody's first choice is
        another. `_decide` would come to the same.
        """
        if not self.voting.greedy:
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

    def _decide(self) -> DecidedPiece | Literal["nobody"] | None:
        """Choose the next byte, or ask for the marginals that decide it."""
        length, sampling, carry = self.length, self.voting.sampling, self.voting.method.carry
        rows = [row_of(voter, length, carry) for voter in self.voters]
        scores = scores_of(rows)
        chosen = choose(scores, sampling, length + 1) if scores else None
        sure = chosen is not None and certain(rows, scores, chosen, sampling, length + 1)
        if not sure and self._ask_what_matters(rows):
            return None
        if chosen is None or scores[chosen] <= 0.0:
            return self._without_votes(rows)
        return self._take(chosen, rows)

    def _ask_what_matters(self, rows: Sequence[ByteVotes]) -> bool:
        """Ask for what the next byte hangs on: first the unlisted mass, then the debts; False if all is
        known."""
        voting = [voter for voter, row in zip(self.voters, rows, strict=True) if row.high > 0.0]
        doubtful = {voter.name: [self._place(voter)] for voter in voting if voter.branch.unlisted > 0.0}
        if not doubtful and self.voting.method.carry:
            doubtful = {voter.name: debts for voter in voting if (debts := voter.open_debts)}
        if not doubtful:
            return False
        self._ask_marginals(doubtful)
        return True

    def _place(self, voter: Voter) -> Place:
        """Where ``voter`` stands, and what is pending there."""
        boundary = voter.branch.boundary
        return boundary, self.tail[len(self.tail) - (self.length - boundary) :]

    def _without_votes(self, rows: Sequence[ByteVotes]) -> Literal["nobody"] | None:
        """No model that has a weight votes for anything: the others start again from their priors."""
        if any(row.weight <= 0.0 < row.listed + row.unlisted for row in rows):
            self.voters = tuple([at_prior(voter) for voter in self.voters])
            return None
        return NOBODY

    def _take(self, chosen: int, rows: Sequence[ByteVotes]) -> DecidedPiece | None:
        """Hold ``chosen`` and let every model follow; EOS is a decision at once."""
        length = self.length
        voters = []
        dissent = False
        for voter, row in zip(self.voters, rows, strict=True):
            missed = misses(row, chosen)
            dissent = dissent or missed
            voters.append(after_byte(voter, length, chosen, missed))
        if dissent and self.voting.needs_decisive:  # where all agree, the others alone agree too
            self.decisive |= {self.voters[index].name for index in decisive_in(rows, chosen)}
        if chosen == EOS_SYMBOL:
            stood, self.voters = self.voters, tuple(voters)
            return self._decision(stood, (), ended=True)
        self._hold(chosen, voters)
        return None

    def _hold(self, byte: int, voters: Sequence[Voter]) -> None:
        """Add ``byte`` to what is decided; ``voters`` have followed."""
        self.voters = tuple(voters)
        self.tail += bytes((byte,))
        self.length += 1
        self.unsettled = True

    def _settle(self) -> DecidedPiece | None:
        """After a byte: who moves to the end of the text, and is asked there?"""
        method, length = self.voting.method, self.length
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
            self._ask_marginals(doubtful)
            return None
        self.unsettled = False
        self.voters = tuple(voters)
        return self._decision(stood, tuple(moved)) if moved else None

    def _ask_marginals(self, doubtful: Mapping[str, Sequence[Place]]) -> None:
        """Ask for the masses behind every next byte at these places."""
        voters = []
        for voter in self.voters:
            asked = []
            for boundary, pending in doubtful.get(voter.name, ()):
                number = self.turn.number()
                asked.append((number, boundary, pending))
                self.turn.commands.append(RequestMarginals(voter.name, number, boundary, pending))
            voters.append(voter._replace(marginals=tuple(asked)) if asked else voter)
        self.voters = tuple(voters)

    def _decision(self, stood: Sequence[Voter], moved: tuple[str, ...], ended: bool = False) -> DecidedPiece:
        """What is held, or EOS, is decided, and the models ``moved``. ``stood`` are the voters before that.

        The base's step is closed where its boundary moved; while it is lost the first live model counts the steps.
        """
        turn, live, voters = self.turn, self.turn.live, self.voters
        voting = turn.base in live
        evidence: Ranks | None = None
        if ended or (turn.base if voting else live[0]) in moved:
            evidence = ()
            if voting:
                evidence = tuple([(v.name, None if v.rank is None else v.rank + v.misses) for v in voters])
        piece = EOS if ended else self.tail[turn.offset - self.length :]
        offsets = offsets_of(stood, turn.offset)
        common = len(moved) == len(voters)
        return DecidedPiece(piece, ranks_of(voters), evidence, self.decisive, offsets, moved, common)


def is_common(members: int, there: Sequence[Voter]) -> bool:
    """Whether a boundary where those of ``there`` stand, of so many members, is a common one: their weights are the
    priors again.

    One member that is within a piece of its own does not keep that from the others, two at least: else it could let
    their weights fade by never standing where they stand, and decide alone. One of the others must have ended a piece
    of its own there: where all of them wanted something else, the one goes on with its piece.
    """
    if len(there) == members:
        return True
    return len(there) == members - 1 >= 2 and any(voter.weight > 0.0 for voter in there)


def waiting(voters: Sequence[Voter]) -> bool:
    """Whether one of them has an open question."""
    for voter in voters:  # noqa: SIM110 - any() takes twice as long
        if voter.question is not None or voter.marginals:
            return True
    return False


def ranks_of(voters: Sequence[Voter]) -> Ranks:
    """The bytes since the last commit at which a model's own first choice was another."""
    return tuple([(voter.name, voter.misses) for voter in voters])


def offsets_of(stood: Sequence[Voter], start: int) -> tuple[tuple[str, int], ...]:
    """Where the models stood, unless all stood at ``start``."""
    for voter in stood:
        if voter.branch.boundary != start:
            return tuple([(each.name, each.branch.boundary) for each in stood])
    return ()


def refreshed(voters: list[Voter]) -> list[Voter]:
    """``voters`` with their weights scaled up together where all of them have faded."""
    highest = max([voter.high for voter in voters])
    if not 0.0 < highest < FADED:
        return voters
    return [weighed(voter._replace(cap=voter.cap / highest), voter.start / highest, voter.debts) for voter in voters]
