import { createContext } from "preact";
import { useCallback, useContext, useEffect, useReducer, useRef, useState } from "preact/hooks";

import { type Api, type Problem, problemFrom } from "./client";
import type { Live, LiveState, Topic } from "./live";

/** What every part of a page has: the interface, the stream, the token's decimals, and a voice. */
export interface Shared {
  api: Api;
  live: Live;
  decimals: number | null;
  /** Tell users of screen readers. */
  announce: (text: string) => void;
}

export const SharedContext = createContext<Shared | null>(null);

export function useShared(): Shared {
  const found = useContext(SharedContext);
  if (found === null) throw new Error("a part was shown without the page around it");
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
  const { api, live } = useShared();
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

/** Return the query of these fields, without those that are empty. */
export function queryOf(fields: Record<string, string | number | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
