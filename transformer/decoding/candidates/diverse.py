"""Diverse beam search (Vijayakumar et al. 2018): several small beams a sentence, each kept away from those before it.

To the search every group is a sentence of its own, with a beam of R/G: its ends, its stopping and its n best are its
own too. Only the choice of the next tokens couples them.

B·G sentences of the search, G groups, R' = R/G beams of a group, N = B·G·R' rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transformer.decoding.selection import BestFirst, Choice


class DiverseGroups:
    """At each step a group is charged for every hypothesis of an earlier group that chose the same token there: the
    Hamming diversity of section 4, which is their best. What is charged decides who goes on and is then forgotten:
    scores stay the model's.

    Args:
        sentences: B; the G groups of each lie one after another.
        groups: G.
        strength: λ, what one token of one earlier hypothesis costs, in nats.
        beam_size: R'.
        eos_id: the end mark.
    """

    def __init__(self, sentences: int, groups: int, strength: float, beam_size: int, eos_id: int) -> None:
        self.strength = strength
        self.best_first = BestFirst(beam_size, eos_id)
        numbers = torch.arange(sentences * groups)
        self.sentences, self.groups = numbers // groups, numbers % groups  # (B·G) each

    def choose(self, log_probs: Tensor, so_far: Tensor) -> Choice:
        """See `Selection.choose`."""
        live, vocabulary = so_far.shape[1], log_probs.shape[1]
        steps = log_probs.view(len(so_far), live, vocabulary)
        charges = log_probs.new_zeros(int(self.sentences.max()) + 1, vocabulary)  # (sentences, V)
        places, choices = [], []
        for group in sorted(set(self.groups.tolist())):
            place = (self.groups == group).nonzero().flatten().to(log_probs.device)  # (b) this group's
            sentence = self.sentences.to(log_probs.device)[place]  # (b)
            charge = charges[sentence]  # (b, V)
            charged = (steps[place] - charge[:, None]).flatten(0, 1)  # (b·live, V)
            choice = self._uncharged(self.best_first.choose(charged, so_far[place]), charge)
            charges.index_put_((sentence[:, None], choice.tokens), self._costs(choice), accumulate=True)
            places.append(place)
            choices.append(choice)
        order = torch.cat(places).argsort()
        return Choice(*(torch.cat(parts)[order] for parts in zip(*map(_parts, choices), strict=True)))

    def _uncharged(self, choice: Choice, charge: Tensor) -> Choice:
        """The same with the model's own log-probabilities again; charge (b, V)."""
        ended = choice.ended_log_probs + charge[:, self.best_first.eos_id, None]  # (b, R')
        live = choice.log_probs + charge.gather(1, choice.tokens)  # (b, R')
        return Choice(ended, choice.ended_parents, live, choice.parents, choice.tokens)

    def _costs(self, choice: Choice) -> Tensor:
        """(b, R') what each live hypothesis' token will cost later groups; those that are not there cost nothing."""
        return (choice.log_probs > float("-inf")).to(choice.log_probs) * self.strength

    def keep(self, sentences: Tensor) -> None:
        """See `Selection.keep`."""
        stay = sentences.to(self.sentences.device)
        self.sentences, self.groups = self.sentences[stay], self.groups[stay]


def _parts(choice: Choice) -> tuple[Tensor, ...]:
    return choice.ended_log_probs, choice.ended_parents, choice.log_probs, choice.parents, choice.tokens
