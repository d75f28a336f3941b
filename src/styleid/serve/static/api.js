// What the page asks of the service.

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return new Refused(response.status, body.detail ?? response.statusText);
}

export async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

// Returns { url, width, height }: a picture and the size of the photo that it shows.
export async function picture(path) {
  const response = await fetch(path);
  if (!response.ok) throw await refusal(response);
  const url = URL.createObjectURL(await response.blob());
  return {
    url,
    width: Number(response.headers.get("styleid-width")),
    height: Number(response.headers.get("styleid-height")),
  };
}

// files: [name, File]; place: instead, a folder of the server. told: called with the share that is sent, 0 to 1. fetch cannot tell that, so this is older.
export function upload(files, settings, told, place = null) {
  const form = new FormData();
  for (const [name, value] of Object.entries(place ?? {})) form.append(name, value);
  for (const [name, file] of files) form.append("file", file, name);
  form.append("settings", JSON.stringify(settings));
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/jobs");
    request.responseType = "json";
    request.upload.onprogress = (event) => told(event.loaded / Math.max(event.total, 1));
    request.onerror = () => reject(new Refused(0, "network"));
    request.onload = () => {
      if (request.status === 201) resolve(request.response);
      else reject(new Refused(request.status, request.response?.detail ?? request.statusText));
    };
    request.send(form);
  });
}

// Calls told with the job whenever it changes, until it has ended; returns what ends it before.
export function follow(job, told) {
  const source = new EventSource(`/v1/jobs/${job}/events`);
  source.addEventListener("job", (event) => {
    const body = JSON.parse(event.data);
    if (["done", "failed", "cancelled"].includes(body.state)) source.close();
    told(body);
  });
  source.addEventListener("deleted", () => source.close());
  return () => source.close();
}
