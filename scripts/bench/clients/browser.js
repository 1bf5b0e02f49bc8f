/* Notes each frame that #input and #output show: (columns) => installs window.benched. Evaluated by browser.py. */
(columns) => {
  const benched = (window.benched = { stopped: false, sent: [], received: [] }); // of pictures by WebSocket: when, bytes
  window.WebSocket = class extends WebSocket {
    constructor(...all) {
      super(...all);
      this.addEventListener("message", ({ data }) => typeof data !== "string" && benched.received.push([performance.now(), data.byteLength]));
    }
    send(data) {
      if (typeof data !== "string") benched.sent.push([performance.now(), data.byteLength]);
      super.send(data);
    }
  };
  const watch = (id) => {
    const video = document.getElementById(id);
    const canvas = new OffscreenCanvas(columns, 1);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const frames = [];
    const look = (now, metadata) => {
      if (benched.stopped) return;
      video.requestVideoFrameCallback(look);
      const { videoWidth: w, videoHeight: h } = video;
      context.drawImage(video, 0, h * 0.04, w, h * 0.02, 0, 0, columns, 1); // the middle of the number
      const { data } = context.getImageData(0, 0, columns, 1);
      frames.push({
        captured: metadata.captureTime ?? null,
        received: metadata.receiveTime ?? null,
        shown: metadata.expectedDisplayTime,
        presented: metadata.presentedFrames,
        live: document.body.dataset.phase === "live",
        row: Array.from({ length: columns }, (_, x) => data[4 * x + 1]),
      });
    };
    video.requestVideoFrameCallback(look);
    return frames;
  };
  benched.input = watch("input");
  benched.output = watch("output");
  benched.began = performance.now();
}
