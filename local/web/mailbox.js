let newest;
setInterval(async () => {
  try {
    const mails = await (await fetch("/_local/mail.json")).json();
    const id = mails.at(-1)?.id ?? "";
    if (newest !== undefined && id !== newest) location.reload();
    newest = id;
  } catch {
    // The stack is restarting.
  }
}, 2000);
