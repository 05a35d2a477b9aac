export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** Whoever has signed in. The service verifies the token; the console only reads it. */
export interface Session {
  token: string;
  name: string;
  role: Role;
  expires: Date;
}

const KEY = "cvms-console-token";

/** Read a token of `cvms token`. Throws an Error that says what is wrong with it. */
export function readToken(text: string): Session {
  const token = text.trim();
  const claims = claimsOf(token);
  const { sub, role, exp } = claims;
  if (typeof sub !== "string" || typeof exp !== "number" || !isRole(role)) {
    throw new Error("This is a token, but not one of `cvms token`: it names no role. Make one there.");
  }
  const expires = new Date(exp * 1000);
  if (expires <= new Date()) {
    throw new Error(
      `The token of ${sub} expired at ${expires.toLocaleString()}. Make a new one with \`cvms token\`.`,
    );
  }
  return { token, name: sub, role, expires };
}

function claimsOf(token: string): Record<string, unknown> {
  try {
    const [, payload = ""] = token.split(".");
    const binary = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (each) => each.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  } catch {
    throw new Error(
      "This is not a token. Paste the whole line that `cvms token NAME --role viewer` prints; it has three parts with dots between them.",
    );
  }
}

function isRole(role: unknown): role is Role {
  return ROLES.some((each) => each === role);
}

export function includes(session: Session, role: Role): boolean {
  return ROLES.indexOf(session.role) >= ROLES.indexOf(role);
}

/** The session of this tab, which a reload keeps and a new tab does not have. */
export function storedSession(): Session | null {
  try {
    const token = sessionStorage.getItem(KEY);
    return token === null ? null : readToken(token);
  } catch {
    return null;
  }
}

/** Keep the token for reloads of this tab. A browser that refuses asks for it again. */
export function store(session: Session | null): void {
  try {
    if (session === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, session.token);
  } catch {
    // The token stays in memory.
  }
}
