"""Every indicator that rules may name: outputs, parameters with bounds and steps, range, and what is long and short.

All are causal: a value at a bar depends on closed bars up to it alone. The tables below are what a person reads; a
line is `NAME | outputs | parameters | range | rule | what an output ignores`. A parameter has its default, and the
bounds and step of SETTINGS unless the line gives others in brackets. Rules:

    threshold OUTPUT long<30 short>70      LONG while below 30, SHORT while above 70
    state A B                              LONG while A > B, SHORT while A < B; B is an output, a price or a number
    cross A B                              the same, on the bar alone on which it becomes true
    slope OUTPUT N                         LONG while above its value N bars before, SHORT while below
    band UPPER LOWER N                     LONG while the close is above UPPER of N bars before, SHORT while below LOWER

With `either` what would be LONG allows both directions and nothing else does: for what has no direction of its own.
Importing this loads neither NumPy nor TA-Lib.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from bot.errors import Misconfigured, shown, suggestion

PRICES = ("open", "high", "low", "close")
KINDS = ("threshold", "state", "cross", "slope", "band")
LIMITS = ("long_below", "long_above", "short_below", "short_above")

# Bounds and step of the parameters, by name.
SETTINGS = {
    "timeperiod": (2, 500, 1),
    "fastperiod": (2, 200, 1),
    "slowperiod": (2, 500, 1),
    "signalperiod": (1, 100, 1),
    "timeperiod1": (1, 200, 1),
    "timeperiod2": (1, 200, 1),
    "timeperiod3": (1, 200, 1),
    "fastk_period": (1, 200, 1),
    "fastd_period": (1, 100, 1),
    "slowk_period": (1, 100, 1),
    "slowd_period": (1, 100, 1),
    "firstperiod": (2, 200, 1),
    "secondperiod": (2, 200, 1),
    "wmaperiod": (2, 200, 1),
    "roc1period": (1, 200, 1),
    "roc2period": (1, 200, 1),
    "rocperiod": (1, 200, 1),
    "stddevperiod": (2, 200, 1),
    "atrperiod": (1, 200, 1),
    "leftbars": (1, 50, 1),
    "rightbars": (1, 50, 1),
    "matype": (0, 8, 1),
    "fastmatype": (0, 8, 1),
    "slowmatype": (0, 8, 1),
    "signalmatype": (0, 8, 1),
    "fastd_matype": (0, 8, 1),
    "slowk_matype": (0, 8, 1),
    "slowd_matype": (0, 8, 1),
    "nbdev": (0.1, 10, 0.1),
    "nbdevup": (0.1, 10, 0.1),
    "nbdevdn": (0.1, 10, 0.1),
    "multiplier": (0.1, 20, 0.1),
    "vfactor": (0, 1, 0.05),
    "fastlimit": (0.01, 0.99, 0.01),
    "slowlimit": (0.01, 0.99, 0.01),
    "acceleration": (0.001, 1, 0.001),
    "maximum": (0.01, 1, 0.01),
    "startvalue": (0, 0, 1.0),
    "offsetonreverse": (0, 1, 0.01),
    "accelerationinitlong": (0.001, 1, 0.001),
    "accelerationlong": (0.001, 1, 0.001),
    "accelerationmaxlong": (0.01, 1, 0.01),
    "accelerationinitshort": (0.001, 1, 0.001),
    "accelerationshort": (0.001, 1, 0.001),
    "accelerationmaxshort": (0.01, 1, 0.01),
    "percentile": (0, 100, 5.0),
    "penetration": (0, 1, 0.05),
    "conversion": (2, 200, 1),
    "base": (2, 300, 1),
    "span": (2, 500, 1),
    "displacement": (1, 200, 1),
    "bars_a_year": (1, 525_600, 1),
}

TABLES = {
    "cycle": """
        HT_DCPERIOD | real | | 0.. | slope real 1 either |
        HT_DCPHASE | real | | -45..315 | slope real 1 |
        HT_PHASOR | inphase quadrature | | | state inphase quadrature |
        HT_SINE | sine leadsine | | -1..1 | state sine leadsine |
        HT_TRENDMODE | integer | | 0..1 | threshold integer long>0.5 either |
    """,
    "operator": """
        ADD | real | | | slope real 1 |
        CUMSUM | real | | | slope real 1 |
        DIV | real | | | slope real 1 either |
        MAX | real | timeperiod=30 | | slope real 1 |
        MAXINDEX | integer | timeperiod=30 | 0.. | slope integer 1 |
        MIN | real | timeperiod=30 | | slope real 1 |
        MININDEX | integer | timeperiod=30 | 0.. | slope integer 1 |
        MINMAX | min max | timeperiod=30 | | band max min 1 |
        MINMAXINDEX | minidx maxidx | timeperiod=30 | 0.. | state maxidx minidx |
        MULT | real | | | slope real 1 |
        SUB | real | | | slope real 1 either |
        SUM | real | timeperiod=30 | | slope real 1 |
    """,
    "transform": """
        ACOS | real | | 0..3.15 | slope real 1 |
        ASIN | real | | -1.58..1.58 | slope real 1 |
        ATAN | real | | -1.58..1.58 | slope real 1 |
        CEIL | real | | | slope real 1 |
        COS | real | | -1..1 | slope real 1 |
        COSH | real | | | slope real 1 |
        EXP | real | | | slope real 1 |
        FLOOR | real | | | slope real 1 |
        LN | real | | | slope real 1 |
        LOG10 | real | | | slope real 1 |
        SIN | real | | -1..1 | slope real 1 |
        SINH | real | | | slope real 1 |
        SQRT | real | | 0.. | slope real 1 |
        TAN | real | | | slope real 1 |
        TANH | real | | -1..1 | slope real 1 |
    """,
    "momentum": """
        AC | real | fastperiod=5 slowperiod=34 signalperiod=5 [2..100] | | state real 0 |
        ADX | real | timeperiod=14 | 0..100 | threshold real long>25 either |
        ADXR | real | timeperiod=14 | 0..100 | threshold real long>25 either |
        AO | real | fastperiod=5 slowperiod=34 | | state real 0 |
        APO | real | fastperiod=12 slowperiod=26 matype=1 | | state real 0 |
        AROON | aroondown aroonup | timeperiod=14 | 0..100 | state aroonup aroondown |
        AROONOSC | real | timeperiod=14 | -100..100 | state real 0 |
        BOP | real | | -1..1 | state real 0 |
        CCI | real | timeperiod=14 | | threshold real long<-100 short>100 |
        CMO | real | timeperiod=14 | -100..100 | threshold real long<-50 short>50 |
        CMOU | real | timeperiod=14 | -100..100 | threshold real long<-50 short>50 |
        COPPOCK | real | wmaperiod=10 roc1period=11 roc2period=14 | | state real 0 |
        DPO | real | timeperiod=20 | | state real 0 |
        DX | real | timeperiod=14 | 0..100 | threshold real long>25 either |
        ER | real | timeperiod=10 | 0..1 | threshold real long>0.5 either |
        ERI | bullpower bearpower | timeperiod=13 | | slope bullpower 1 |
        FOSC | real | timeperiod=5 | | state real 0 |
        FRACTAL | swinghigh swinglow | leftbars=2 rightbars=2 | | state swinglow swinghigh |
        IMI | real | timeperiod=14 | 0..100 | threshold real long<30 short>70 |
        KDJ | k d j | fastk_period=9 slowk_period=3 slowk_matype=13 [0..13] slowd_period=3 slowd_matype=13 [0..13] | | threshold j long<0 short>100 | k: slowd_period slowd_matype
        MACD | macd macdsignal macdhist | fastperiod=12 slowperiod=26 signalperiod=9 | | state macd 0 | macd: signalperiod
        MACDEXT | macd macdsignal macdhist | fastperiod=12 fastmatype=0 slowperiod=26 slowmatype=0 signalperiod=9 signalmatype=0 | | state macd macdsignal | macd: signalperiod signalmatype
        MACDFIX | macd macdsignal macdhist | signalperiod=9 | | state macd macdsignal | macd: signalperiod
        MFI | real | timeperiod=14 | 0..100 | threshold real long<20 short>80 |
        MINUS_DI | real | timeperiod=14 | 0..100 | threshold real short>25 |
        MINUS_DM | real | timeperiod=14 | 0.. | slope real 1 |
        MOM | real | timeperiod=10 | | state real 0 |
        PLUS_DI | real | timeperiod=14 | 0..100 | threshold real long>25 |
        PLUS_DM | real | timeperiod=14 | 0.. | slope real 1 |
        PPO | real | fastperiod=12 slowperiod=26 matype=1 | | state real 0 |
        QSTICK | real | timeperiod=10 | | state real 0 |
        ROC | real | timeperiod=10 | -100.. | state real 0 |
        ROCP | real | timeperiod=10 | -1.. | state real 0 |
        ROCR | real | timeperiod=10 | 0.. | state real 1 |
        ROCR100 | real | timeperiod=10 | 0.. | state real 100 |
        RSI | real | timeperiod=14 | 0..100 | threshold real long<30 short>70 |
        SMI | smi smisignal | timeperiod=13 fastperiod=2 slowperiod=25 signalperiod=9 [2..100] | -100..100 | state smi smisignal | smi: signalperiod
        STOCH | slowk slowd | fastk_period=5 slowk_period=3 slowk_matype=0 slowd_period=3 slowd_matype=0 | | threshold slowd long<20 short>80 | slowk: slowd_period slowd_matype
        STOCHF | fastk fastd | fastk_period=5 fastd_period=3 fastd_matype=0 | | threshold fastd long<20 short>80 | fastk: fastd_period fastd_matype
        STOCHRSI | fastk fastd | timeperiod=14 fastk_period=5 fastd_period=3 fastd_matype=0 | | threshold fastd long<20 short>80 | fastk: fastd_period fastd_matype
        TRIX | real | timeperiod=30 [2..200] | | state real 0 |
        TSI | real | firstperiod=25 secondperiod=13 | -100..100 | state real 0 |
        ULTOSC | real | timeperiod1=7 timeperiod2=14 timeperiod3=28 | 0..100 | threshold real long<30 short>70 |
        VHF | real | timeperiod=28 | 0..1 | threshold real long>0.4 either |
        VORTEX | plusvi minusvi | timeperiod=14 | 0.. | state plusvi minusvi |
        WAD | real | | | slope real 10 |
        WILLR | real | timeperiod=14 | -100..0 | threshold real long<-80 short>-20 |
    """,
    "overlap": """
        ACCBANDS | upperband middleband lowerband | timeperiod=20 | | band upperband lowerband 0 |
        BBANDS | upperband middleband lowerband | timeperiod=20 nbdevup=2 nbdevdn=2 matype=0 | | band upperband lowerband 0 | upperband: nbdevdn middleband: nbdevup nbdevdn lowerband: nbdevup
        DEMA | real | timeperiod=30 [2..200] | | state close real |
        DONCHIAN | upperband middleband lowerband | timeperiod=20 | | band upperband lowerband 1 |
        EMA | real | timeperiod=30 | | state close real |
        HMA | real | timeperiod=20 | | state close real |
        HT_TRENDLINE | real | | | state close real |
        KAMA | real | timeperiod=30 | | state close real |
        KC | upperband middleband lowerband | timeperiod=20 atrperiod=10 nbdev=2 | | band upperband lowerband 0 | middleband: atrperiod nbdev
        MA | real | timeperiod=30 [2..200] matype=0 | | state close real |
        MAMA | mama fama | fastlimit=0.5 slowlimit=0.05 | | state mama fama |
        MIDPOINT | real | timeperiod=14 | | state close real |
        MIDPRICE | real | timeperiod=14 | | state close real |
        RMA | real | timeperiod=30 | | state close real |
        SAR | real | acceleration=0.02 maximum=0.2 | | state close real |
        SAREXT | real | startvalue=0 offsetonreverse=0 accelerationinitlong=0.02 accelerationlong=0.02 accelerationmaxlong=0.2 accelerationinitshort=0.02 accelerationshort=0.02 accelerationmaxshort=0.2 | | state real 0 |
        SMA | real | timeperiod=30 | | state close real |
        SUPERTREND | supertrend trend | timeperiod=10 multiplier=3 | | state trend 0 |
        T3 | real | timeperiod=5 [2..100] vfactor=0.7 | | state close real |
        TEMA | real | timeperiod=30 [2..200] | | state close real |
        TRIMA | real | timeperiod=30 | | state close real |
        VWMA | real | timeperiod=30 | | state close real |
        WMA | real | timeperiod=30 | | state close real |
        ZLEMA | real | timeperiod=30 | | state close real |
    """,
    "price": """
        AVGDEV | real | timeperiod=14 | 0.. | slope real 1 either |
        AVGPRICE | real | | | state close real |
        HA | haopen hahigh halow haclose | | | state haclose haopen |
        MEDPRICE | real | | | state close real |
        TYPPRICE | real | | | state close real |
        WCLPRICE | real | | | state close real |
    """,
    "statistic": """
        BETA | real | timeperiod=5 | | state real 1 |
        CORREL | real | timeperiod=30 | -1..1 | threshold real long>0.5 either |
        LINEARREG | real | timeperiod=14 | | state close real |
        LINEARREG_ANGLE | real | timeperiod=14 | -90..90 | state real 0 |
        LINEARREG_INTERCEPT | real | timeperiod=14 | | state close real |
        LINEARREG_SLOPE | real | timeperiod=14 | | state real 0 |
        PERCENTILE | real | timeperiod=30 percentile=50 | | state close real |
        PERCENTRANK | real | timeperiod=100 | 0..100 | threshold real long<10 short>90 |
        STDDEV | real | timeperiod=5 nbdev=1 | 0.. | slope real 1 either | slope: nbdev
        TSF | real | timeperiod=14 | | state close real |
        VAR | real | timeperiod=5 nbdev=1 | 0.. | slope real 1 either | real: nbdev
    """,
    "volatility": """
        ADR | real | timeperiod=14 | 0.. | slope real 1 either |
        ATR | real | timeperiod=14 [1..500] | 0.. | slope real 1 either |
        CVI | real | timeperiod=10 rocperiod=10 | -100.. | threshold real long>0 either |
        MASSI | real | fastperiod=9 slowperiod=25 | 0.. | threshold real long>26.5 either |
        NATR | real | timeperiod=14 [1..500] | 0.. | threshold real long>1 either |
        RVI | real | timeperiod=14 stddevperiod=10 | 0..100 | state real 50 |
        TRANGE | real | | 0.. | slope real 1 either |
    """,
    "volume": """
        AD | real | | | slope real 10 |
        ADOSC | real | fastperiod=3 slowperiod=10 | | state real 0 |
        CMF | real | timeperiod=20 | -1..1 | state real 0 |
        EFI | real | timeperiod=13 | | state real 0 |
        MARKETFI | real | | 0.. | slope real 1 either |
        NVI | real | | | slope real 10 |
        OBV | real | | | slope real 10 |
        PVI | real | | | slope real 10 |
        PVO | real | fastperiod=12 slowperiod=26 matype=1 | | threshold real long>0 either |
        PVT | real | | | slope real 10 |
        RVOL | real | timeperiod=20 | 0.. | threshold real long>1.5 either |
        VWAP | real | | | state close real |
    """,
}

# Those that are computed here, with where they come from.
OWN = """
    BB_PERCENT | real | timeperiod=20 nbdev=2 | | threshold real long<0 short>1 | | J. Bollinger's %b: place of the close between the bands, 0 the lower, 1 the upper
    BB_WIDTH | real | timeperiod=20 nbdev=2 | 0.. | threshold real long>0.05 either | slope: nbdev | J. Bollinger's bandwidth: distance of the bands / middle
    CANDLE_BODY | body range upper_wick lower_wick | timeperiod=20 | | threshold body long>0.5 short<-0.5 | body: timeperiod upper_wick: timeperiod lower_wick: timeperiod | body (signed) and wicks as shares of the bar's range, and its range / mean range of the bars before
    CHANDELIER_EXIT | long_stop short_stop | timeperiod=22 multiplier=3 | | band short_stop long_stop 0 | | C. Le Beau: highest high - multiplier ATRs, lowest low + multiplier ATRs
    DAILY_VWAP | real | | | state close real | | mean of (high+low+close)/3 by volume since 00:00 UTC
    DISTANCE_TO_MEAN | real | timeperiod=50 | -100.. | state real 0 | | close / mean of closes - 1, %
    FISHER | fisher trigger | timeperiod=9 | | state fisher trigger | | J. Ehlers, Using the Fisher Transform, 2002; the trigger is the value before
    HEIKIN_ASHI_TREND | real | | | state real 0 | | +1 for a rising Heikin-Ashi candle, -1 for a falling one
    HISTORICAL_VOLATILITY | real | timeperiod=20 bars_a_year=365 | 0.. | slope real 1 either | slope: bars_a_year | deviation of log returns, scaled to a year, %
    ICHIMOKU | conversion_line base_line span_a span_b | conversion=9 base=26 span=52 displacement=26 | | state conversion_line base_line | conversion_line: base span displacement base_line: conversion span displacement span_a: span span_b: conversion base | G. Hosoda: the lines and spans known at the bar; the lagging line, which looks ahead, is left out
    PIVOTS | pivot r1 s1 r2 s2 | | | state close pivot | | floor traders' levels of the UTC day before
    VOLUME_MEAN | mean ratio | timeperiod=20 | 0.. | threshold ratio long>1.5 either | | mean volume, and volume / mean
    VWAP_DEVIATION | real | | -100.. | state real 0 | | close / daily VWAP - 1, %
"""

PATTERNS = """
    CDL2CROWS CDL3BLACKCROWS CDL3INSIDE CDL3LINESTRIKE CDL3OUTSIDE CDL3STARSINSOUTH CDL3WHITESOLDIERS
    CDLABANDONEDBABY(penetration=0.3) CDLADVANCEBLOCK CDLBELTHOLD CDLBREAKAWAY CDLCLOSINGMARUBOZU CDLCONCEALBABYSWALL
    CDLCOUNTERATTACK CDLDARKCLOUDCOVER(penetration=0.5) CDLDOJI CDLDOJISTAR CDLDRAGONFLYDOJI CDLENGULFING
    CDLEVENINGDOJISTAR(penetration=0.3) CDLEVENINGSTAR(penetration=0.3) CDLGAPSIDESIDEWHITE CDLGRAVESTONEDOJI CDLHAMMER
    CDLHANGINGMAN CDLHARAMI CDLHARAMICROSS CDLHIGHWAVE CDLHIKKAKE CDLHIKKAKEMOD CDLHOMINGPIGEON CDLIDENTICAL3CROWS
    CDLINNECK CDLINVERTEDHAMMER CDLKICKING CDLKICKINGBYLENGTH CDLLADDERBOTTOM CDLLONGLEGGEDDOJI CDLLONGLINE CDLMARUBOZU
    CDLMATCHINGLOW CDLMATHOLD(penetration=0.5) CDLMORNINGDOJISTAR(penetration=0.3) CDLMORNINGSTAR(penetration=0.3)
    CDLONNECK CDLPIERCING CDLRICKSHAWMAN CDLRISEFALL3METHODS CDLSEPARATINGLINES CDLSHOOTINGSTAR CDLSHORTLINE
    CDLSPINNINGTOP CDLSTALLEDPATTERN CDLSTICKSANDWICH CDLTAKURI CDLTASUKIGAP CDLTHRUSTING CDLTRISTAR CDLUNIQUE3RIVER
    CDLUPSIDEGAP2CROWS CDLXSIDEGAP3METHODS
"""

# What people call some of them elsewhere.
ALIASES = {
    "BOLLINGER": "BBANDS",
    "HEIKIN_ASHI": "HA",
    "KELTNER": "KC",
    "PARABOLIC_SAR": "SAR",
    "STOCHASTIC": "STOCH",
    "WILDER": "RMA",
}


@dataclass(frozen=True)
class Setting:
    """A parameter: its default, the bounds within which it may lie, and the step of a search."""

    name: str
    default: float
    least: float
    most: float
    step: float

    @property
    def whole(self) -> bool:
        """Whether it is a whole number."""
        return isinstance(self.step, int)

    def takes(self, value: float) -> bool:
        """Whether a value is of its kind and within its bounds."""
        return self.least <= value <= self.most and not (self.whole and value != int(value))


@dataclass(frozen=True)
class Rule:
    """What is LONG and what is SHORT: a kind, the outputs that it reads, and its numbers."""

    kind: str
    output: str = ""
    against: str | float = 0.0  # of a state or a cross
    upper: str = ""  # of a band
    lower: str = ""
    bars: int = 0  # of a slope or a band
    long_below: float | None = None
    long_above: float | None = None
    short_below: float | None = None
    short_above: float | None = None
    either: bool = False
    invert: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """Outputs and prices that decide it."""
        if self.kind == "band":
            return (self.upper, self.lower, "close")
        second = self.against if self.kind in ("state", "cross") else ""
        return (self.output, second) if isinstance(second, str) and second else (self.output,)

    @property
    def before(self) -> int:
        """Bars before the present one that it looks back."""
        return 1 if self.kind == "cross" else self.bars

    @property
    def sentence(self) -> str:
        """What is long and what is short, in words."""
        long, short = self._sides()
        if self.either:
            return f"either direction while {long}, none otherwise" if long else "nothing"
        if self.invert:
            long, short = short, long
        sides = [f"{name} {text}" for name, text in (("LONG", long), ("SHORT", short)) if text]
        word = "on the bar on which" if self.kind == "cross" else "while"
        return ", ".join(side.replace(" ", f" {word} ", 1) for side in sides)

    def _sides(self) -> tuple[str, str]:
        """Say when each side holds, before inversion; empty where it never does."""
        now = self.output
        if self.kind == "threshold":
            return _between(now, self.long_above, self.long_below), _between(now, self.short_above, self.short_below)
        if self.kind == "slope":
            ago = "the bar before" if self.bars == 1 else f"{self.bars} bars before"
            return f"{now} is above its value of {ago}", f"{now} is below its value of {ago}"
        if self.kind == "band":
            ago = f" of {self.bars} bar{'s' if self.bars > 1 else ''} before" if self.bars else ""
            return f"close is above {self.upper}{ago}", f"close is below {self.lower}{ago}"
        other = self.against if isinstance(self.against, str) else f"{self.against:g}"
        verb = "comes to be" if self.kind == "cross" else "is"
        return f"{now} {verb} above {other}", f"{now} {verb} below {other}"


def _between(name: str, above: float | None, below: float | None) -> str:
    parts = [f"above {above:g}" if above is not None else "", f"below {below:g}" if below is not None else ""]
    given = [one for one in parts if one]
    return f"{name} is {' and '.join(given)}" if given else ""


@dataclass(frozen=True)
class Indicator:
    """An indicator as rules know it."""

    name: str
    group: str
    outputs: tuple[str, ...]
    settings: tuple[Setting, ...]
    least: float
    most: float
    rule: Rule
    ignored: dict[str, tuple[str, ...]]
    source: str

    def setting(self, name: str) -> Setting:
        """Find a parameter by its name; raises Misconfigured."""
        found = {one.name: one for one in self.settings}
        if name not in found:
            known = suggestion(name, found) if found else "leave it out, it has none"
            raise Misconfigured(f"indicator {self.name} has no parameter {shown(name)}; {known}.")
        return found[name]

    def values(self, given: dict[str, object]) -> tuple[tuple[str, float], ...]:
        """All parameters, as `given` or else by default; raises Misconfigured for one that is unknown or out of bounds."""
        chosen = {one.name: one.default for one in self.settings}
        for name, value in given.items():
            one = self.setting(name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not one.takes(value):
                kind = "a whole number" if one.whole else "a number"
                raise Misconfigured(
                    f"indicator {self.name}: {name} is {shown(value)}; give {kind} from {one.least:g} to {one.most:g}."
                )
            chosen[name] = int(value) if one.whole else float(value)
        return tuple(chosen.items())

    def searched(self, rule: Rule) -> tuple[str, ...]:
        """Parameters that can change what this rule says, which alone are worth a search."""
        outputs = [name for name in rule.reads if name in self.outputs]
        scale_free = rule.kind == "slope" or (rule.kind in ("state", "cross") and rule.against == 0.0)
        idle = set(self.ignored.get("slope", ())) if scale_free else set()
        common = [set(self.ignored.get(name, ())) for name in outputs]
        idle |= set.intersection(*common) if common else set()
        return tuple(one.name for one in self.settings if one.name not in idle and one.least < one.most)


def indicator_named(name: str) -> Indicator:
    """Find an indicator by its name, in any case; raises Misconfigured with the nearest one."""
    wanted = name.upper() if isinstance(name, str) else name
    wanted = ALIASES.get(wanted, wanted)
    if wanted not in INDICATORS:
        near = suggestion(str(wanted), (*INDICATORS, *ALIASES))
        near = near if near.startswith("did") else "`traderagent indicators` lists them"
        raise Misconfigured(f"indicator {shown(name)} is unknown; {near}.")
    return INDICATORS[wanted]


# Reading the tables


def _rule(text: str) -> Rule:
    kind, *words = text.split()
    either, words = "either" in words, [one for one in words if one != "either"]
    rule = Rule(kind, output=words[0], either=either)
    if kind == "threshold":
        for word in words[1:]:
            side, sign, number = re.split("([<>])", word)
            limit: dict[str, Any] = {f"{side}_{'below' if sign == '<' else 'above'}": float(number)}
            rule = replace(rule, **limit)
        return rule
    if kind == "slope":
        return replace(rule, bars=int(words[1]))
    if kind == "band":
        return replace(rule, output="", upper=words[0], lower=words[1], bars=int(words[2]))
    return replace(rule, against=words[1] if re.match("[a-z]", words[1]) else float(words[1]))


def _settings(text: str) -> tuple[Setting, ...]:
    found = []
    for name, default, least, most in re.findall(r"(\w+)=(\S+)(?: \[(\S+?)\.\.(\S+?)\])?", text):
        low, high, step = SETTINGS[name]
        whole = isinstance(step, int)
        number = int(default) if whole else float(default)
        found.append(Setting(name, number, int(least) if least else low, int(most) if most else high, step))
    return tuple(found)


def _ignored(text: str) -> dict[str, tuple[str, ...]]:
    """Read `OUTPUT: PARAMETER … OUTPUT: …`; what stands under `slope` only scales the outputs."""
    parts = re.findall(r"(\w+):((?: [\w-]+(?!\w*:))+)", text)
    return {output: tuple(one for one in names.split() if one != "-") for output, names in parts}


def _line(group: str, line: str) -> Indicator:
    name, outputs, settings, bounds, rule, ignored, *source = (part.strip() for part in line.split("|"))
    least, _, most = bounds.partition("..")
    return Indicator(
        name,
        group,
        tuple(outputs.split()),
        _settings(settings),
        float(least or "-inf"),
        float(most or "inf"),
        _rule(rule),
        _ignored(ignored),
        source[0] if source else "TA-Lib",
    )


def _pattern(text: str) -> Indicator:
    name, _, settings = text.rstrip(")").partition("(")
    return _line("pattern", f"{name} | integer | {settings} | -200..200 | state integer 0 |")


def _read() -> dict[str, Indicator]:
    found = [_line(group, line) for group, table in TABLES.items() for line in table.strip().splitlines()]
    found += [_pattern(one) for one in PATTERNS.split()]
    found += [_line("further", line) for line in OWN.strip().splitlines()]
    return {one.name: one for one in found}


INDICATORS = _read()
