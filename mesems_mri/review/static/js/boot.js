/** Asks for the task and its first image while the modules are still on their way (a plain script, before them). */
{
  const id = location.pathname.split("/").filter(Boolean).at(-1);
  const early = (window.early = new Map());
  const put = (path, response) => {
    response.catch(() => {}); // told to whoever takes it
    early.set(path, response);
  };
  const ask = (path) => fetch(path, { credentials: "same-origin" });
  const path = `/api/tasks/${id}`;
  put("/api/session", ask("/api/session"));
  put(
    path,
    ask(path).then(async (response) => {
      const text = await response.text();
      if (response.ok) {
        const current = JSON.parse(text).images.filter((image) => image.visit === "current");
        const first = current.find((image) => image.contrast === "FLAIR") ?? current[0];
        if (first) put(first.url, ask(first.url));
      }
      return new Response(text, { status: response.status, headers: response.headers });
    }),
  );
}
