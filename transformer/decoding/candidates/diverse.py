"""Diverse beam search (Vijayakumar et al. 2018): several small beams per sentence, each kept away from those before it.

The search treats each group as a sentence of its own with a beam of R/G, its own end marks, stopping and n best. Only
the choice of the next tokens couples the groups of a sentence.

B·G sentences of the search, G groups, R' = R/G beams of a group, N = B·G·R' rows, V vocabulary, b rows of one group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transformer.decoding.beam_search import BestFirst, Survivors
from transformer.decoding.rules.forbidden import NEVER


class DiverseGroups:
    """The pruning: a group pays for every hypothesis of an earlier group that chose the same token at this step.

    This is Hamming diversity (section 4), which worked best there. The charge decides which continuations survive and
    is then taken back, so scores remain the model's.

    Args:
        sentences, groups, beam_size: B, G and R'; the groups of a sentence are consecutive.
        strength: λ, the price of one token of one earlier hypothesis, in nats.
    """

    def __init__(self, sentences: int, groups: int, strength: float, beam_size: int, eos_id: int) -> None:
        self.strength = strength
        self.best_first = BestFirst(beam_size, eos_id)
        numbers = torch.arange(sentences * groups)
        self.sentences, self.groups = numbers // groups, numbers % groups  # (B·G) each

    def prune(self, log_probs: Tensor, so_far: Tensor) -> Survivors:
        live, vocabulary = so_far.shape[1], log_probs.shape[1]
        steps = log_probs.view(len(so_far), live, vocabulary)  # (B·G, R', V)
        charges = log_probs.new_zeros(int(self.sentences.max()) + 1, vocabulary)  # (sentences, V)
        rows, pruned = [], []
        for group in sorted(set(self.groups.tolist())):
            row = (self.groups == group).nonzero().flatten().to(log_probs.device)  # (b)
            sentence = self.sentences.to(log_probs.device)[row]  # (b)
            charge = charges[sentence]  # (b, V)
            charged = (steps[row] - charge[:, None]).flatten(0, 1)  # (b·R', V)
            survivors = self._uncharged(self.best_first.prune(charged, so_far[row]), charge)
            charges.index_put_((sentence[:, None], survivors.tokens), self._price(survivors), accumulate=True)
            rows.append(row)
            pruned.append(survivors)
        order = torch.cat(rows).argsort()
        return Survivors(*(torch.cat(parts)[order] for parts in zip(*pruned, strict=True)))

    def _uncharged(self, survivors: Survivors, charge: Tensor) -> Survivors:
        """With the model's own log-probabilities again; charge (b, V)."""
        ended = survivors.ended_log_probs + charge[:, self.best_first.eos_id, None]  # (b, R')
        live = survivors.log_probs + charge.gather(1, survivors.tokens)  # (b, R')
        return survivors._replace(ended_log_probs=ended, log_probs=live)

    def _price(self, survivors: Survivors) -> Tensor:
        """(b, R') what the token of each live hypothesis will cost later groups; an empty place costs nothing."""
        return (survivors.log_probs > NEVER).to(survivors.log_probs) * self.strength

    def keep(self, sentences: Tensor) -> None:
        stay = sentences.to(self.sentences.device)
        self.sentences, self.groups = self.sentences[stay], self.groups[stay]
