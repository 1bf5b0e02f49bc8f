/* Notes what both videos show: (options) => installs window.sampled. Evaluated in the page by test_browser.py. */
({ strip, thumbnail, settleMs }) => {
  const sampled = (window.sampled = { stopped: false, wasAlwaysLive: true });
  const notePhase = () => (sampled.wasAlwaysLive &&= document.body.dataset.phase === "live");
  notePhase();
  new MutationObserver(notePhase).observe(document.body, { attributes: true, attributeFilter: ["data-phase"] });
  const begin = performance.now();
  const watch = (id, began) => {
    const video = document.getElementById(id);
    const seen = { frames: [], presented: 0, width: 0, height: 0 };
    const canvas = new OffscreenCanvas(Math.max(strip.width, thumbnail.width), 1 + thumbnail.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const luma = (x, y, width, height) => {
      const { data } = context.getImageData(x, y, width, height);
      return Array.from({ length: width * height }, (_, i) => (data[4 * i] + data[4 * i + 1] + data[4 * i + 2]) / 3);
    };
    const look = (now, metadata) => {
      if (!sampled.stopped) video.requestVideoFrameCallback(look);
      if (now < began) return;
      const { videoWidth: w, videoHeight: h } = video;
      context.drawImage(video, 0, h * 0.04, w, h * 0.02, 0, 0, strip.width, 1);
      const frame = { time: metadata.expectedDisplayTime, row: luma(0, 0, strip.width, 1) };
      if (seen.frames.length % 10 === 0) {
        // clear of the frame number, and what both pictures show: the model's is the camera's, cropped to its shape
        const shown = Math.min(h, w * (9 / 16));
        context.drawImage(video, 0, h / 2 - shown * 0.3, w, shown * 0.8, 0, 1, thumbnail.width, thumbnail.height);
        frame.thumbnail = luma(0, 1, thumbnail.width, thumbnail.height);
      }
      seen.frames.push(frame);
      seen.presented = metadata.presentedFrames;
      seen.width = w;
      seen.height = h;
    };
    video.requestVideoFrameCallback(look);
    return seen;
  };
  sampled.input = watch("input", begin); // the first pictures of the output are made from what it shows now
  sampled.output = watch("output", begin + settleMs); // till then pictures may be from before the page said live
}
