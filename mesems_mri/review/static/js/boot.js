/** Asks for the task and its first image while the modules are still on their way (a plain script, before them). */
{
  const id = location.pathname.split("/").filter(Boolean).at(-1);
  const early = (window.early = new Map());
  const ask = (path) => {
    const response = fetch(path, { credentials: "same-origin" });
    response.catch(() => {}); // told to whoever takes it
    early.set(path, response);
    return response;
  };
  ask("/api/session");
  ask(`/api/tasks/${id}`)
    .then((response) => (response.ok ? response.clone().json() : { images: [] }))
    .then(({ images }) => {
      const first = images.find((i) => i.visit === "current" && i.contrast === "FLAIR") ?? images.find((i) => i.visit === "current");
      if (first) ask(first.url);
    })
    .catch(() => {});
}
