"""The portfolio's judgement: what each pair should trade, with how much, and when to stop.

Up from the pairs go reports, down go directives; `portfolio.portfolio_step` makes the one into the other, and
`pair.decide` follows, with the same signature as a strategy's own `decide`. Both are pure kernels.
"""
