// A canvas that shows tiles made by the server: the image, and over it what the data tiles say
// (red: class id, green: superpixel outline, blue: uncertainty).

const KEPT_TILES = 300;
const UNCERTAIN = [255, 0, 200];

export class Viewer {
  constructor(canvas, getTile, onView) {
    this.canvas = canvas;
    this.getTile = getTile; // (jobId, layer, level, z, y, x) -> Promise of ImageBitmap
    this.onView = onView;
    this.settings = { opacity: 0.5, overlay: "classes", outlines: false, hidden: new Set() };
    this.tiles = new Map();
    this.job = null;
    this.z = 0;
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(job) {
    this.job = job;
    this.tiles.clear();
    this.z = Math.floor(job.result.shape_zyx[0] / 2);
    this.fit();
  }

  clear() {
    this.job = null;
    this.tiles.clear();
    this.draw();
  }

  change(settings) {
    Object.assign(this.settings, settings);
    for (const tile of this.tiles.values()) tile.painted = null;
    this.draw();
  }

  setSlice(z) {
    if (!this.job) return;
    this.z = Math.min(Math.max(z, 0), this.job.result.shape_zyx[0] - 1);
    this.draw();
  }

  fit() {
    const [, height, width] = this.job.result.shape_zyx;
    const box = this.canvas.getBoundingClientRect();
    this.scale = Math.min(box.width / width, box.height / height);
    this.centre = [width / 2, height / 2];
    this.draw();
  }

  zoom(factor, at) {
    if (!this.job) return;
    const box = this.canvas.getBoundingClientRect();
    const [dx, dy] = at ? [at[0] - box.width / 2, at[1] - box.height / 2] : [0, 0];
    const scale = Math.min(Math.max(this.scale * factor, 1e-4), 32);
    this.centre[0] += dx / this.scale - dx / scale;
    this.centre[1] += dy / this.scale - dy / scale;
    this.scale = scale;
    this.draw();
  }

  move(dx, dy) {
    if (!this.job) return;
    const [, height, width] = this.job.result.shape_zyx;
    this.centre[0] = Math.min(Math.max(this.centre[0] + dx / this.scale, 0), width);
    this.centre[1] = Math.min(Math.max(this.centre[1] + dy / this.scale, 0), height);
    this.draw();
  }

  listen() {
    const canvas = this.canvas;
    const place = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), place(event));
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoom(2, place(event)));
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) this.move(-event.movementX, -event.movementY);
    });
    const step = () => canvas.clientWidth / 10;
    const keys = {
      ArrowLeft: () => this.move(-step(), 0), ArrowRight: () => this.move(step(), 0),
      ArrowUp: () => this.move(0, -step()), ArrowDown: () => this.move(0, step()),
      "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5),
      0: () => this.job && this.fit(),
      PageUp: () => this.setSlice(this.z + 1), PageDown: () => this.setSlice(this.z - 1),
    };
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in keys) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      this.paint();
    });
  }

  // Draws the visible tiles of the level whose pixels are about those of the screen; what is not
  // here yet is asked for and drawn when it comes.
  paint() {
    const { canvas } = this;
    const dpr = window.devicePixelRatio || 1;
    const box = canvas.getBoundingClientRect();
    canvas.width = Math.round(box.width * dpr);
    canvas.height = Math.round(box.height * dpr);
    canvas.dataset.ready = "false";
    if (!this.job) return;
    const context = canvas.getContext("2d");
    const scale = this.scale * dpr;
    context.setTransform(scale, 0, 0, scale,
      canvas.width / 2 - this.centre[0] * scale, canvas.height / 2 - this.centre[1] * scale);
    context.imageSmoothingEnabled = scale < 1;
    const missing = this.visible(scale).filter((place) => !this.paintTile(context, place));
    canvas.dataset.ready = String(missing.length === 0);
    this.onView(this);
  }

  visible(scale) {
    const { levels, tile_px: size } = this.job.result;
    const level = Math.min(Math.max(Math.floor(-Math.log2(scale)), 0), levels.length - 1);
    const [height, width] = levels[level];
    const step = 2 ** level;
    const half = [this.canvas.width / 2 / scale, this.canvas.height / 2 / scale];
    const span = (centre, reach, length) => [
      Math.max(Math.floor((centre - reach) / step / size), 0),
      Math.min(Math.floor((centre + reach) / step / size), Math.ceil(length / size) - 1),
    ];
    const [x0, x1] = span(this.centre[0], half[0], width);
    const [y0, y1] = span(this.centre[1], half[1], height);
    const places = [];
    for (let y = y0; y <= y1; y++) for (let x = x0; x <= x1; x++) places.push([level, this.z, y, x]);
    return places;
  }

  paintTile(context, place) {
    const tile = this.tile(place);
    if (!tile.image || !tile.data) return false;
    const [level, , y, x] = place;
    const step = 2 ** level;
    const size = this.job.result.tile_px;
    const box = [x * size * step, y * size * step, tile.image.width * step, tile.image.height * step];
    context.globalAlpha = 1;
    context.drawImage(tile.image, ...box);
    tile.painted ??= this.overlay(tile.data);
    context.globalAlpha = this.settings.opacity;
    if (this.settings.overlay !== "none") context.drawImage(tile.painted.fill, ...box);
    context.globalAlpha = 1;
    if (this.settings.outlines) context.drawImage(tile.painted.lines, ...box);
    return true;
  }

  tile(place) {
    const key = place.join("/");
    let tile = this.tiles.get(key);
    if (tile) {
      this.tiles.delete(key); // put back as the newest
    } else {
      tile = {};
      const job = this.job;
      for (const layer of ["image", "data"]) {
        this.getTile(job.id, layer, ...place).then((bitmap) => {
          tile[layer] = layer === "image" ? bitmap : pixelsOf(bitmap);
          if (this.job === job) this.draw();
        }, () => {});
      }
    }
    this.tiles.set(key, tile);
    if (this.tiles.size > KEPT_TILES) this.tiles.delete(this.tiles.keys().next().value);
    return tile;
  }

  overlay(data) {
    const fill = new ImageData(data.width, data.height);
    const lines = new ImageData(data.width, data.height);
    const colours = new Map(this.job.result.classes.map((c) => [c.id, rgb(c.colour)]));
    const { overlay, hidden } = this.settings;
    for (let i = 0; i < data.data.length; i += 4) {
      const id = data.data[i];
      const colour = overlay === "classes" ? colours.get(id) ?? [128, 128, 128] : UNCERTAIN;
      const alpha = overlay === "classes" ? 255 : data.data[i + 2];
      fill.data.set([...colour, hidden.has(id) ? 0 : alpha], i);
      lines.data.set([255, 255, 255, 0.8 * data.data[i + 1]], i);
    }
    return { fill: canvasOf(fill), lines: canvasOf(lines) };
  }
}

function pixelsOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

function canvasOf(pixels) {
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function rgb(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}
