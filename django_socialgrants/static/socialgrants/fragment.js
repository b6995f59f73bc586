/* Hands what a network put into the fragment of its redirect (RFC 6749, section 4.2.2) to this site's server,
   and to nobody else. The first thing it does, before the page goes on loading, is to take it out of the
   address bar and the history. After that it lives in one variable only. */
(() => {
  "use strict";

  const received = new URLSearchParams(location.hash.slice(1) || location.search.slice(1));
  history.replaceState(null, "", location.pathname);

  document.addEventListener("DOMContentLoaded", () => {
    const form = document.getElementById("socialgrants-fragment");
    if (form.dataset.flow === "code") {
      passErrorOn();
    } else if (received.has("state")) {
      submit(form.elements.csrfmiddlewaretoken.value);
    } else {
      fail();
    }
  });

  /* In the code flow a fragment can hold nothing but an error, which is no secret: it goes where errors go. */
  function passErrorOn() {
    if (received.has("error") && received.has("state")) {
      const error = new URLSearchParams({ error: received.get("error"), state: received.get("state") });
      location.replace(`${location.pathname}?${error}`);
    } else {
      fail();
    }
  }

  /* Mode "cors" makes the browser name its origin although the page sends no referrer: the check needs it. */
  async function submit(csrfToken) {
    received.set("csrfmiddlewaretoken", csrfToken);
    try {
      const response = await fetch(location.pathname, {
        method: "POST",
        mode: "cors",
        credentials: "same-origin",
        redirect: "error",
        headers: { Accept: "application/json" },
        body: received,
      });
      if (response.ok && response.headers.get("Content-Type") === "application/json") {
        location.replace((await response.json()).location);
      } else {
        show(await response.text());
      }
    } catch {
      fail();
    }
  }

  /* The server's page, as far as it fits into this one. */
  function show(html) {
    const page = new DOMParser().parseFromString(html, "text/html");
    const main = page.querySelector("main");
    if (main) {
      document.title = page.title;
      document.querySelector("main").replaceWith(main);
    } else {
      fail();
    }
  }

  function fail() {
    document.getElementById("socialgrants-failed").hidden = false;
  }
})();
