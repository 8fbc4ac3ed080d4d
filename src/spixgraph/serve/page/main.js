// The page: uploads, samples, the list of jobs, and the controls of the viewer.

import { Viewer } from "/page/viewer.js";

const $ = (id) => document.getElementById(id);
const KEY = "spixgraph-key";
const BUSY = ["queued", "running", "canceling"];
const number = new Intl.NumberFormat("en");
let shown = null; // id of the job in the viewer
let awaited = null; // id of the job to show when it is done
let timer = null;

async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("the server does not answer");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) $("login").hidden = false;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error ?? `the server answered ${answer.status}`);
}

async function guarded(work) {
  $("error").textContent = "";
  try {
    await work();
  } catch (error) {
    $("error").textContent = error.message;
  }
}

const viewer = new Viewer(
  $("view"),
  async (id, ...place) => {
    const answer = await ask(`/jobs/${id}/tiles/${place.join("/")}`);
    const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    return createImageBitmap(await answer.blob(), exact);
  },
  (view) => {
    $("zoom").textContent = `${(100 * view.scale).toPrecision(3)} %`;
    $("slice").value = view.z;
    $("slice-number").textContent = `${view.z + 1}`;
  },
);

async function submit(body, headers) {
  $("status").textContent = "Sending…";
  try {
    const job = await (await ask("/jobs", { method: "POST", body, headers })).json();
    awaited = job.id;
    $("status").textContent = `${job.name} waits`;
  } catch (error) {
    $("status").textContent = "";
    throw error;
  }
  await refresh();
}

function upload(file) {
  const form = new FormData();
  form.append("image", file, file.name);
  return guarded(() => submit(form));
}

async function refresh() {
  clearTimeout(timer);
  const { jobs } = await (await ask("/jobs")).json();
  const list = $("jobs");
  const items = new Map([...list.children].map((item) => [item.dataset.id, item]));
  for (const job of jobs) {
    const item = items.get(job.id) ?? newItem(job);
    items.delete(job.id);
    updateItem(item, job);
    list.append(item);
  }
  for (const [id, item] of items) {
    item.remove();
    if (id === shown) hide();
  }
  const done = jobs.find((job) => job.id === awaited && !BUSY.includes(job.state));
  if (done) finish(done);
  timer = setTimeout(poll, jobs.some((job) => BUSY.includes(job.state)) ? 250 : 5000);
}

const poll = () => guarded(refresh);

function finish(job) {
  awaited = null;
  if (job.state === "done") show(job);
  if (job.state === "failed") $("error").textContent = `${job.name}: ${job.error}`;
  $("status").textContent = `${job.name} is ${job.state}`;
}

function newItem(job) {
  const item = document.createElement("li");
  item.dataset.id = job.id;
  item.innerHTML = "<strong></strong> <span></span><progress max='1'></progress>" +
    "<div class='why'></div><button class='look'>View</button> <button class='end'></button>";
  const [look, end] = item.querySelectorAll("button");
  item.querySelector("strong").textContent = job.name;
  item.querySelector("progress").setAttribute("aria-label", `Progress of ${job.name}`);
  look.setAttribute("aria-label", `View ${job.name}`);
  look.addEventListener("click", () => guarded(async () => {
    show(await (await ask(`/jobs/${job.id}`)).json());
  }));
  end.addEventListener("click", () => guarded(async () => {
    await ask(`/jobs/${job.id}`, { method: "DELETE" });
    await refresh();
  }));
  return item;
}

function updateItem(item, job) {
  const busy = BUSY.includes(job.state);
  const [look, end] = item.querySelectorAll("button");
  item.dataset.state = job.state;
  item.querySelector("span").textContent = job.step ? `${job.state}: ${job.step}` : job.state;
  item.querySelector("progress").value = job.progress;
  item.querySelector("progress").hidden = !busy;
  item.querySelector(".why").textContent = job.error ?? "";
  look.hidden = job.state !== "done";
  end.textContent = busy ? "Cancel" : "Remove";
  end.disabled = job.state === "canceling";
  end.setAttribute("aria-label", `${end.textContent} ${job.name}`);
  item.setAttribute("aria-current", String(job.id === shown));
}

function show(job) {
  shown = job.id;
  const { shape_zyx: [depth, height, width], classes, n_superpixels: n } = job.result;
  $("figures").hidden = false;
  $("slice-label").hidden = depth === 1;
  $("slice").max = depth - 1;
  viewer.settings.hidden = new Set([0]); // as viewers have it: class 0 is see-through
  const size = `${depth > 1 ? `${depth} × ` : ""}${height} × ${width}`;
  $("about").textContent = `${job.name}: ${size} pixels, ${number.format(n)} superpixels`;
  const unit = ["um2", "um3"].find((name) => name in classes[0]);
  $("unit").textContent = unit ? { um2: "µm²", um3: "µm³" }[unit] : "";
  $("classes").replaceChildren(...classes.map((c) => classRow(c, unit)));
  const shares = classes.map((c) => `${c.name} ${(100 * c.fraction).toFixed(1)} %`).join(", ");
  $("view").setAttribute("aria-label", `${job.name} with the mask over it: ${shares}`);
  for (const item of $("jobs").children) {
    item.setAttribute("aria-current", String(item.dataset.id === shown));
  }
  viewer.show(job);
}

function hide() {
  shown = null;
  $("figures").hidden = true;
  $("view").setAttribute("aria-label", "No image");
  viewer.clear();
}

function classRow(c, unit) {
  const row = document.createElement("tr");
  row.innerHTML = "<td><input type='checkbox'></td>" +
    "<td><span class='swatch'></span><span></span></td><td></td><td></td><td></td>";
  const [box, [swatch, name]] = [row.querySelector("input"), row.querySelectorAll("span")];
  swatch.style.background = c.colour;
  name.textContent = c.name;
  box.setAttribute("aria-label", `Show ${c.name}`);
  box.checked = !viewer.settings.hidden.has(c.id);
  box.addEventListener("change", () => {
    viewer.settings.hidden[box.checked ? "delete" : "add"](c.id);
    viewer.change({});
  });
  row.cells[2].textContent = number.format(c.pixels);
  row.cells[3].textContent = `${(100 * c.fraction).toFixed(2)} %`;
  row.cells[4].textContent = unit ? number.format(c[unit]) : "";
  return row;
}

async function download(format, layer) {
  const answer = await ask(`/jobs/${shown}/result?format=${format}&layer=${layer}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = `${layer}.${{ tiff: "tif" }[format] ?? format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function start() {
  const model = await (await ask("/model")).json();
  $("model").textContent = `${model.name} ${model.version}, ${model.n_dims}D, ` +
    `${model.n_channels} channel(s), ${model.bundle_sha256.slice(0, 12)}`;
  const { samples } = await (await ask("/samples")).json();
  $("sample").replaceChildren(...samples.map((name) => new Option(name)));
  await refresh();
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value);
  $("login").hidden = true;
  guarded(start);
});
$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) upload(file).then(() => { event.target.value = ""; });
});
$("try").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = JSON.stringify({ sample: $("sample").value });
  guarded(() => submit(body, { "Content-Type": "application/json" }));
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    const file = name === "drop" && event.dataTransfer.files[0];
    if (file) upload(file);
  });
}
$("opacity").addEventListener("input", () => viewer.change({ opacity: $("opacity").value / 100 }));
$("overlay").addEventListener("change", () => viewer.change({ overlay: $("overlay").value }));
$("outlines").addEventListener("change", () => viewer.change({ outlines: $("outlines").checked }));
$("slice").addEventListener("input", () => viewer.setSlice(Number($("slice").value)));
$("zoom-in").addEventListener("click", () => viewer.zoom(1.5));
$("zoom-out").addEventListener("click", () => viewer.zoom(1 / 1.5));
$("fit").addEventListener("click", () => viewer.job && viewer.fit());
for (const button of $("downloads").querySelectorAll("button")) {
  button.addEventListener("click", () => guarded(() => (
    download(button.dataset.format ?? "tiff", button.dataset.layer ?? "mask"))));
}
guarded(start);
