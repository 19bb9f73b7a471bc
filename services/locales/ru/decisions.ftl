# Решения бота по-русски; английские предложения говорит coordinator.decisions. Числа приходят уже записанными:
# `x` как есть, `x_money` с копейками, `x_share` в процентах.
decision-candidate = кандидат: { $candidate }, баров подряд: { $bars } (ADX { $adx }, ATR { $atr_pct } % цены)
decision-regime = режим рынка: { $before } → { $regime } (ADX { $adx }, ATR { $atr_pct } % цены)
decision-start = запускается { $strategy } ({ $variant }), для торговли { $size_money }
decision-variant = { $strategy } со следующей раскладки или сделки: { $variant }, больше не { $before }
decision-transition = переход с «{ $from }» на «{ $to }»: позиция на { $position_money }, стоп { $stop }, цель { $target }
decision-closing = время перехода вышло: { $position_money } закрывается по рынку
decision-flat = позиции нет, { $minutes } мин после начала перехода
decision-verdict = фильтр о входе ({ $side }, цена { $price }): { $action } ({ $reason }), уверенность { $confidence }, { $share_share } размера
decision-pause = пауза ({ $reason }) до { $until }
decision-unpause = пауза окончена
decision-mode = режимы портфеля: { $modes }; убыток дня { $day_loss_share }, просадка { $drawdown_share }, размеры × { $multiplier }
decision-halt = всё остановлено: убыток дня { $day_loss_share }, просадка { $drawdown_share }, капитал { $equity_money }
decision-answer = ответ на остановку: { $answer }
decision-resume = торговля продолжается, капитал { $equity_money }
decision-investment = вложение изменено на { $amount_money }, теперь { $capital_money }; капитал { $equity_money }
decision-allocation = целевой капитал { $target_money }
decision-trim = позиция сокращается: зарезервировано { $reserved_money }
decision-overcommitted = { $begins ->
    [yes] зарезервировано { $reserved_money } при пределе { $limit_money }: новых входов нет
   *[no] резерв снова в пределах: новые входы
  }
decision-withdrawn = сняты самые дальние входы, { $entries }; освобождено { $reserve_money }
decision-blocked = { $begins ->
    [yes] новые входы закрыты: кандидат запрещает «{ $strategy }»
   *[no] новые входы больше не закрыты
  }
decision-costs = { $rule ->
    [target] ничего не открыто: цель слишком близко,
    [stop] ничего не открыто: стоп слишком близко,
    [cell] сетка не разложена: ячейка приносит слишком мало,
   *[transition] переход ждёт: позиция рискует малым, оставаясь,
  } { $distance_share }, а издержки в { $costs_share } требуют { $least_share }
decision-wallet = { $origin ->
    [opening] на счету при начале { $amount_money }
    [transfer] перевод { $amount_money }
   *[unexplained] { $amount_money } на счету, и это не перевод
  }; на счету { $wallet_money }
decision-zone = зона { $side } на { $timeframe } от { $bottom } до { $top }
since = С { $at }: { $said }.
decision-signal = { $asked ->
    [long] сигнал { $number }: лонг, стоп { $stop }, цель { $target }
    [short] сигнал { $number }: шорт, стоп { $stop }, цель { $target }
   *[close] сигнал { $number }: выйти
}{ $late ->
    [yes] {" "}(пришёл слишком поздно)
   *[no] {""}
}
decision-refused = биржа отказала ({ $refusal ->
    [no_money] не хватает денег
    [too_small] слишком мало
    [too_large] слишком много
    [trigger_passed] цена уже прошла
    [nothing_to_reduce] уменьшать нечего
   *[other] причина в журнале бота
  }): { $side } { $quantity }, цена { $price }
decision-full = открыто столько пар, сколько разрешено: { $asked ->
    [buy] покупки не было
    [sell] продажи не было
   *[other] заявки ждут
}
