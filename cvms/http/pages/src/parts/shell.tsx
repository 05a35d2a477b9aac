import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { useConsole } from "../api/hooks";
import { LiveSign } from "./live_sign";

export interface PageLink {
  name: string;
  title: string;
}

interface ShellProps {
  pages: PageLink[];
  current: PageLink;
  /** What of the page is shown, such as a vault's owner; none for the whole of it. */
  part: string;
  spoken: string;
  leave: () => void;
  children: ComponentChildren;
}

/** What is around every page: the way to the others, who is signed in, whether it is live. */
export function Shell({ pages, current, part, spoken, leave, children }: ShellProps) {
  const { session, overview } = useConsole();
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${current.title}${part === "" ? "" : `, ${part}`} · CVMS console`;
    if (!first.current) heading.current?.focus();
    first.current = false;
  }, [current.title, part]);
  return (
    <>
      <a class="skip" href="#page" onClick={(event) => {
        event.preventDefault();
        heading.current?.focus();
      }}>Skip to the page</a>
      <header>
        <p class="product">CVMS console</p>
        <LiveSign />
        <p class="who">{session.name}, {session.role}{overview && <span class="note"> · version {overview.version}</span>}</p>
        <button type="button" onClick={leave}>Sign out</button>
      </header>
      <nav aria-label="Pages">
        <ul>
          {pages.map(({ name, title }) => (
            <li key={name}><a href={`#/${name}`} aria-current={name === current.name ? "page" : undefined}>{title}</a></li>
          ))}
        </ul>
      </nav>
      <main id="page">
        <h1 ref={heading} tabIndex={-1}>{current.title}</h1>
        {children}
      </main>
      <div role="status" class="spoken">{spoken}</div>
    </>
  );
}
