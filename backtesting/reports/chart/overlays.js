// What is drawn over the candles: zones, resting orders, fills, the chosen trade, and ribbons without gaps at the bottom.
(function (root) {
"use strict";

const {place} = root.Columns;
const MOST_ORDERS = 1500; // more of them in sight is a grey surface
const RIBBON = 11; // px

// A primitive of lightweight-charts that draws by one function, in CSS pixels.
class Layer {
  constructor(order, draw) {
    const renderer = {draw: (target) => target.useMediaCoordinateSpace((space) => draw(space.context, space.mediaSize))};
    this.views = [{zOrder: () => order, renderer: () => renderer}];
  }
  attached({requestUpdate}) {
    this.redraw = requestUpdate;
  }
  paneViews() {
    return this.views;
  }
}

// `frame` gives what a drawing needs: x(time), y(price), from and to (seconds in sight), bucket(time), colours, shows.
class Overlays {
  constructor(series, frame) {
    this.frame = frame;
    this.pair = null;
    this.trade = null;
    this.layers = [new Layer("bottom", (...a) => this.behind(...a)), new Layer("top", (...a) => this.before(...a))];
    this.layers.forEach((layer) => series.attachPrimitive(layer));
  }
  redraw() {
    this.layers.forEach((layer) => layer.redraw && layer.redraw());
  }
  behind(context, size) {
    if (!this.pair) return;
    if (this.frame.shows("zones") && this.pair.zones) this.zones(context);
    if (this.frame.shows("compared") && this.pair.compared) this.comparedOrders(context, this.pair.compared.orders);
    if (this.frame.shows("orders") && this.pair.orders) this.orders(context);
    this.pair.ribbons.forEach((ribbon, row) => this.ribbon(context, size, ribbon, this.pair.ribbons.length - row));
  }
  before(context) {
    if (!this.pair) return;
    if (this.trade) this.chosen(context, this.trade);
    if (this.frame.shows("compared") && this.pair.compared) this.comparedFills(context, this.pair.compared.fills);
    if (this.frame.shows("fills")) this.fills(context);
  }
  spans(table, draw) {
    const {from, to} = this.frame.sight();
    for (let k = 0; k < table.rows && table.t[k] <= to; k++) if (table.until[k] >= from) draw(k);
  }
  zones(context) {
    const colours = this.frame.colours, shades = [colours.gain, colours.loss, colours.soft];
    context.globalAlpha = 0.12;
    this.spans(this.pair.zones, (k) => {
      const zone = this.pair.zones, left = this.frame.x(zone.t[k]), top = this.frame.y(zone.top[k]);
      context.fillStyle = shades[zone.kind[k]];
      context.fillRect(left, top, this.frame.x(zone.until[k]) - left, Math.max(this.frame.y(zone.bottom[k]) - top, 1));
    });
    context.globalAlpha = 1;
  }
  orders(context) {
    const orders = this.pair.orders, seen = [], colours = this.frame.colours;
    this.spans(orders, (k) => seen.push(k));
    this.crowded = seen.length > MOST_ORDERS;
    if (this.crowded) return;
    context.lineWidth = 1;
    context.globalAlpha = 0.55;
    for (const k of seen) {
      const y = Math.round(this.frame.y(orders.price[k])) + 0.5;
      context.setLineDash(orders.kind[k] === 2 ? [5, 4] : []);
      context.strokeStyle = [colours.buy, colours.sell, colours.stop][orders.kind[k]];
      context.beginPath();
      context.moveTo(this.frame.x(orders.t[k]), y);
      context.lineTo(this.frame.x(orders.until[k]), y);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }
  // Triangles at the price; of those that would cover each other one stands for all.
  fills(context) {
    const fills = this.pair.fills, {from, to} = this.frame.sight(), taken = new Set(), colours = this.frame.colours;
    for (let k = place(fills.t, from); k < fills.rows && fills.t[k] <= to; k++) {
      const x = this.frame.middle(fills.t[k]), y = this.frame.y(fills.price[k]), buys = fills.side[k] === 0;
      const cell = `${Math.round(x / 9)} ${Math.round(y / 9)} ${buys}`;
      if (y === null || taken.has(cell)) continue;
      taken.add(cell);
      const away = buys ? 8 : -8;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x - 4.5, y + away);
      context.lineTo(x + 4.5, y + away);
      context.closePath();
      context.fillStyle = buys ? colours.buy : colours.sell;
      context.fill();
      context.lineWidth = 1;
      context.strokeStyle = colours.paper;
      context.stroke();
    }
  }
  // Another's orders and fills beside one's own: dotted lines, and hollow diamonds, filled where one leaves.
  comparedOrders(context, orders) {
    const colours = this.frame.colours;
    context.lineWidth = 2;
    context.globalAlpha = 0.7;
    context.setLineDash([2, 4]);
    this.spans(orders, (k) => {
      const y = Math.round(this.frame.y(orders.price[k]));
      context.strokeStyle = [colours.buy, colours.sell, colours.stop][orders.kind[k]];
      context.beginPath();
      context.moveTo(this.frame.x(orders.t[k]), y);
      context.lineTo(this.frame.x(orders.until[k]), y);
      context.stroke();
    });
    context.setLineDash([]);
    context.globalAlpha = 1;
  }
  comparedFills(context, fills) {
    const {from, to} = this.frame.sight(), colours = this.frame.colours;
    context.lineWidth = 2;
    for (let k = place(fills.t, from); k < fills.rows && fills.t[k] <= to; k++) {
      const x = this.frame.middle(fills.t[k]), y = this.frame.y(fills.price[k]);
      context.beginPath();
      [[0, -7], [7, 0], [0, 7], [-7, 0]].forEach(([right, down]) => context.lineTo(x + right, y + down));
      context.closePath();
      context.fillStyle = fills.leaves[k] ? (fills.side[k] ? colours.sell : colours.buy) : colours.paper;
      context.fill();
      context.strokeStyle = fills.side[k] ? colours.sell : colours.buy;
      context.stroke();
    }
  }
  chosen(context, trade) {
    const colours = this.frame.colours, points = [[trade.from, trade.entry], [trade.to, trade.exit]];
    context.strokeStyle = context.fillStyle = colours.ink;
    context.lineWidth = 2;
    context.setLineDash([3, 3]);
    context.beginPath();
    points.forEach(([time, price]) => context.lineTo(this.frame.middle(time), this.frame.y(price)));
    context.stroke();
    context.setLineDash([]);
    for (const [time, price] of points) {
      context.beginPath();
      context.arc(this.frame.middle(time), this.frame.y(price), 6, 0, 7);
      context.stroke();
    }
  }
  ribbon(context, size, ribbon, row) {
    const top = size.height - row * (RIBBON + 2);
    this.spans(ribbon, (k) => {
      const left = Math.max(this.frame.x(ribbon.t[k]), -1), right = Math.min(this.frame.x(ribbon.until[k]), size.width + 1);
      context.fillStyle = ribbon.colours[ribbon.which[k]];
      context.fillRect(Math.floor(left), top, Math.ceil(right) - Math.floor(left), RIBBON);
    });
    context.font = "600 9px system-ui, sans-serif";
    const width = context.measureText(ribbon.title).width + 8;
    context.fillStyle = this.frame.colours.paper;
    context.globalAlpha = 0.85;
    context.fillRect(2, top, width, RIBBON);
    context.globalAlpha = 1;
    context.fillStyle = this.frame.colours.ink;
    context.fillText(ribbon.title, 6, top + 8.5);
  }
}

root.Overlays = Overlays;
root.RIBBON_HEIGHT = RIBBON + 2;
})(window);
