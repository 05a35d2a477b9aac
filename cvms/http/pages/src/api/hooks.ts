import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

import type { ActionProps } from "../parts/action";
import type { Session } from "./session";
import type { Shared } from "./shared";
import type { Overview } from "./types";

export { queryOf, type Resource, useLiveState, useResource } from "./shared";

/** What every page of the console has. */
export interface Console extends Shared {
  session: Session;
  overview: Overview | null;
  lag: { at: Date; value: number | null }[];
  /** Ask for the confirmation of an action, which then is done. */
  ask: (action: ActionProps) => void;
}

export const ConsoleContext = createContext<Console | null>(null);

export function useConsole(): Console {
  const found = useContext(ConsoleContext);
  if (found === null) throw new Error("a page was shown without the console around it");
  return found;
}

export interface Place {
  page: string;
  /** What follows the page in the path, decoded. */
  rest: string;
  query: URLSearchParams;
}

function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...rest] = path.split("/");
  return { page: page || "overview", rest: decoded(rest.join("/")), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Return the place that the URL's hash names. */
export function usePlace(): Place {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return placeOf(hash);
}
