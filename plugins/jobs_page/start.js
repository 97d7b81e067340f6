// First of all, the page's scripts: a server that fails to give one of them would leave "Loading …" there for ever.

const AGAIN_MS = 6000;

import("./app.js").catch((error) => {
  console.warn(error);
  const words = document.createElement("p");
  words.className = "empty";
  words.textContent = "The server did not give all of this page's scripts. Trying again in a few seconds.";
  document.getElementById("main").replaceChildren(words);
  setTimeout(() => location.reload(), AGAIN_MS);
});
