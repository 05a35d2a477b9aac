import { createContext } from "preact";
import { useCallback, useContext, useEffect, useReducer, useRef, useState } from "preact/hooks";

import type { ActionProps } from "../parts/action";
import { type Api, type Problem, problemFrom } from "./client";
import type { Live, LiveState, Topic } from "./live";
import type { Overview } from "./types";

/** What every page has: the interface, the stream, the token's decimals, and a voice. */
export interface Console {
  api: Api;
  live: Live;
  decimals: number | null;
  overview: Overview | null;
  lag: { at: Date; value: number | null }[];
  /** Tell users of screen readers. */
  announce: (text: string) => void;
  /** Ask for the confirmation of an action, which then is done. */
  ask: (action: ActionProps) => void;
}

export const ConsoleContext = createContext<Console | null>(null);

export function useConsole(): Console {
  const found = useContext(ConsoleContext);
  if (found === null) throw new Error("a page was shown without the console around it");
  return found;
}

export interface Resource<T> {
  data: T | null;
  problem: Problem | null;
  at: Date | null;
  loading: boolean;
  reload: () => Promise<void>;
}

const GATHER_MS = 400; // each read is an entry of the audit trail: one for many events

/** Read a document, again at `reload`, and after an event of one of the topics. */
export function useResource<T>(path: string | null, ...topics: Topic[]): Resource<T> {
  const { api, live } = useConsole();
  const [state, setState] = useState<Omit<Resource<T>, "reload">>(EMPTY);
  const newest = useRef(0);
  const reload = useCallback(async () => {
    const number = ++newest.current;
    if (path === null) return setState(EMPTY);
    setState((before) => ({ ...before, loading: true }));
    try {
      const data = await api.get<T>(path);
      if (number === newest.current) setState({ data, problem: null, at: new Date(), loading: false });
    } catch (error) {
      const problem = problemFrom(error);
      if (number === newest.current) setState((before) => ({ ...before, problem, loading: false }));
    }
  }, [api, path]);

  useEffect(() => {
    setState(EMPTY);
    void reload();
  }, [reload]);

  const wanted = topics.join();
  useEffect(() => {
    let timer = 0;
    const stop = live.listen(({ topic, type }) => {
      if (type === "snapshot" || !wanted.split(",").includes(topic)) return;
      timer ||= window.setTimeout(() => {
        timer = 0;
        void reload();
      }, GATHER_MS);
    });
    return () => {
      stop();
      window.clearTimeout(timer);
    };
  }, [live, wanted, reload]);

  return { ...state, reload };
}

const EMPTY = { data: null, problem: null, at: null, loading: false };

export function useLiveState(live: Live): LiveState {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => live.watch(() => redraw(0)), [live]);
  return live.state;
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

/** Return the query of these fields, without those that are empty. */
export function queryOf(fields: Record<string, string | number | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
