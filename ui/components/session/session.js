// Keeps the id of the session in a cookie, which Streamlit's server cannot set, so that a reload asks for no key.
// The id means something to that server alone, and the cookie goes when the browser is closed.

export default function session({ data }) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  const gone = data.id ? "" : "; Max-Age=0";
  document.cookie = `${data.name}=${data.id}; Path=/; SameSite=Strict${secure}${gone}`;
}
