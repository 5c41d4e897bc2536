"use strict";
// What is live tells when its connection is lost, and when it is there again. Without scripts every page can be read all the same.
const lost = isLost => {
  const notice = document.getElementById("lost");
  if (notice) notice.hidden = !isLost;
};
document.addEventListener("htmx:sseError", () => lost(true));
document.addEventListener("htmx:sseOpen", () => lost(false));
document.addEventListener("htmx:sseMessage", () => lost(false));
// Whoever is no longer let in is led to where one enters, also by a part of a page that renews itself.
document.addEventListener("htmx:responseError", event => {
  if (event.detail.xhr.status === 401) location.reload();
});
