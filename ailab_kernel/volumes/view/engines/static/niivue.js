// Runs ipyniivue's own script, and adds three things: voxels stay on the page, everything is drawn once while it loads
// rather than after each step, and a line says how far it is.

const COSTLY = ["updateGLVolume", "drawScene"]; // all textures anew, all panes anew: seconds without a graphics card

async function imported(text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

// ipyniivue sends an image's voxels to the kernel while that image's line is open. To ipyniivue, this one never is.
function mute(part) {
  const told = (name) => (typeof part[name] === "function" ? part[name].bind(part) : part[name]);
  return new Proxy(part, { get: (_, name) => (name === "_comm_live" ? false : told(name)) });
}

function muted(model) {
  const manager = model.widget_manager;
  const found = async (id) => manager.get_model(id).then((one) => (one.get("voxels_stay") ? mute(one) : one));
  return { ...model, widget_manager: { get_model: found } };
}

// NiiVue takes a function among its options for its own method: so it is held while it loads, and known afterwards.
function holding(model, hold) {
  const held = Object.fromEntries(COSTLY.map((name) => [name, function (...given) {
    hold.viewer = this;
    return hold.on ? undefined : Object.getPrototypeOf(this)[name].apply(this, given);
  }]));
  const get = (name) => (name === "opts" && !hold.viewer ? { ...model.get("opts"), ...held } : model.get(name));
  return { ...muted(model), get };
}

export default async function () {
  const hold = { on: true, viewer: null };
  // The model as NiiVue keeps it, and NiiVue, once a cell shows it: anywidget gives up what takes two seconds to begin.
  let own, opened;
  async function open() {
    const whole = await imported(own.get("niivue"));
    const close = await whole.initialize({ model: holding(own, hold) });
    return { whole, close };
  }
  return {
    initialize({ model }) {
      own = model;
      return async () => (await opened)?.close?.();
    },
    async render({ model, el }) {
      const line = document.createElement("div");
      line.textContent = "loading …";
      el.classList.add("ailab-niivue");
      el.append(line);
      try {
        const { whole } = await (opened ??= open());
        const close = await whole.render({ model: muted(model), el });
        if (hold.on) {
          hold.on = false;
          hold.viewer?.updateGLVolume();
        }
        el.viewer = hold.viewer;
        line.remove();
        el.dataset.state = "shown";
        return close;
      } catch (error) {
        line.textContent = `The viewer 'niivue' failed: ${error.message ?? error}`;
        el.dataset.state = "failed";
      }
    },
  };
}
