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
      submit(form);
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
  async function submit(form) {
    try {
      received.set("csrfmiddlewaretoken", (tokenIn(form) || tokenIn(await pageAsked())).value);
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

  const rules = { createHTML: (html) => html };
  let policy;

  const tokenIn = (page) => page.querySelector("[name=csrfmiddlewaretoken]");

  /* This page once more, asked for by this site: so cookies come along that are kept from other sites' requests. */
  async function pageAsked() {
    return parse(await (await fetch(location.pathname, { credentials: "same-origin" })).text());
  }

  /* Nothing in it runs, and it is our own: a policy says so where the site demands one (Trusted Types). */
  function parse(html) {
    policy ??= window.trustedTypes?.createPolicy("socialgrants", rules) ?? rules;
    return new DOMParser().parseFromString(policy.createHTML(html), "text/html");
  }

  /* The server's page, as far as it fits into this one. */
  function show(html) {
    const page = parse(html);
    const content = page.getElementById("socialgrants-content");
    if (content) {
      document.title = page.title;
      document.getElementById("socialgrants-content").replaceWith(content);
    } else {
      fail();
    }
  }

  function fail() {
    document.getElementById("socialgrants-failed").hidden = false;
  }
})();
