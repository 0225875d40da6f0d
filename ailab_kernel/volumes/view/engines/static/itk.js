// itk-vtk-viewer in a frame of its own: its styles and workers stay there, and end with it.

const ASK_AGAIN_MS = 20000;
const VOLUME_SCALE = 2; // each is half as fine; the viewer's panel offers the others. Slices are shown as they are.

function baseOf(told) {
  const config = document.getElementById("jupyter-config-data");
  const address = config ? JSON.parse(config.textContent).fullLabextensionsUrl : undefined;
  if (!address) throw new Error("this page is not JupyterLab, which serves the viewer's files; take engine='niivue'");
  return `${new URL(address, location.href).href}/${told.extension}/static/`;
}

function framed(told, el) {
  const frame = document.createElement("iframe");
  frame.className = "ailab-itk";
  frame.style.cssText = `width:100%;height:${told.height}px;border:0;background:#000`;
  const src = `<base href="${baseOf(told)}"><style>html,body,#v{margin:0;height:100%;background:#000}</style>
    <div id="v"></div><script src="${told.script}"></scr` + `ipt>`;
  frame.srcdoc = src;
  const loaded = new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
  el.append(frame);
  return loaded.then(() => {
    if (!frame.contentWindow.itkVtkViewer) throw new Error("JupyterLab does not serve the viewer's files; reload the page");
    return frame;
  });
}

async function unpacked(view) {
  if (!view.byteLength) return null;
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function asked(model) {
  const id = crypto.randomUUID();
  return new Promise((resolve) => {
    const heard = (message, buffers) => {
      if (message.kind !== "arrays" || message.to !== id) return;
      model.off("msg:custom", heard);
      clearInterval(again);
      resolve(buffers);
    };
    const ask = () => model.send({ kind: "hello", from: id });
    const again = setInterval(ask, ASK_AGAIN_MS); // the kernel may be busy, but a message is not lost: long enough
    model.on("msg:custom", heard);
    ask();
  });
}

// Arrays of the frame's own world: the viewer asks `instanceof`.
function imageOf(world, told, name, data, componentType) {
  return {
    imageType: { dimension: 3, componentType, pixelType: "Scalar", components: 1 },
    name, metadata: new world.Map(), data, size: told.size, spacing: told.spacing, origin: told.origin,
    direction: new world.Float64Array(told.direction),
  };
}

function valuesOf(world, told, buffer) {
  const stored = new world.Int16Array(buffer);
  const [slope, intercept] = told.scale;
  if (slope === 1 && intercept === 0) return [stored, "int16"];
  return [world.Float32Array.from(stored, (value) => value * slope + intercept), "float32"];
}

function drawn(viewer) {
  return viewer.getStore().proxyManager.getRepresentations().find((one) => one.getVolumes?.()[0]);
}

// The viewer colours labels by a table of its own each time that it loads a finer picture.
function colored(viewer, told) {
  const volume = drawn(viewer)?.getVolumes()[0];
  if (!volume) return;
  const components = volume.getMapper().getInputData().getPointData().getScalars().getNumberOfComponents();
  const table = volume.getProperty().getRGBTransferFunction(components - 1);
  table.removeAllPoints();
  table.addRGBPoint(0, 0, 0, 0);
  for (const { value, color } of told.labels) table.addRGBPoint(value, ...color.map((one) => one / 255));
  viewer.render();
}

async function show(told, frame, arrays) {
  const world = frame.contentWindow;
  const [imageBuffer, labelBuffer] = await Promise.all(arrays.map(unpacked));
  const image = imageBuffer && imageOf(world, told, "image", ...valuesOf(world, told, imageBuffer));
  const Labels = told.label_type === "uint8" ? world.Uint8Array : world.Uint16Array;
  const labelImage = labelBuffer && imageOf(world, told, "labels", new Labels(labelBuffer), told.label_type);
  const place = world.document.getElementById("v");
  const viewer = await world.itkVtkViewer.createViewer(place, {
    image: image ?? undefined, labelImage: labelImage ?? undefined, rotate: false, use2D: told.size.includes(1),
    config: { uiCollapsed: false, main: { backgroundColor: [0, 0, 0], units: "mm" } },
  });
  // Planes first: a volume rendering at once is more than a machine without a graphics card bears. The camera turns to
  // the slices when there are some.
  viewer.setViewMode("XPlane");
  while (!drawn(viewer)) await new Promise((resolve) => setTimeout(resolve, 50));
  viewer.setViewMode("ZPlane");
  viewer.setImageScale(0);
  viewer.on("viewModeChanged", () => viewer.setImageScale(viewer.getViewMode() === "Volume" ? VOLUME_SCALE : 0));
  if (image) {
    viewer.setImageColorMap("Grayscale", 0);
    viewer.setImageColorRange(told.window, 0);
  }
  if (labelImage) {
    viewer.setLabelImageLabelNames(new world.Map([[0, "background"], ...told.labels.map((one) => [one.value, one.name])]));
    for (const event of ["renderedImageAssigned", "labelImageLabelNamesChanged"]) {
      viewer.on(event, () => setTimeout(() => colored(viewer, told), 0));
    }
    colored(viewer, told);
  }
  return viewer;
}

function render({ model, el }) {
  const told = model.get("told");
  const line = document.createElement("div");
  line.textContent = "loading …";
  el.append(line);
  let frame = null;
  framed(told, el)
    .then(async (made) => {
      frame = made;
      frame.viewer = await show(told, frame, await asked(model));
      line.textContent = told.note;
      frame.dataset.state = "shown";
    })
    .catch((error) => {
      line.textContent = `The viewer 'itk' failed: ${error.message ?? error}`;
      const failed = el.querySelector("iframe");
      if (failed) failed.dataset.state = "failed";
    });
  return () => frame?.remove();
}

export default { render };
