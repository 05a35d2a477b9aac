import { type Api, newKey, Problem } from "../../api/client";
import type { Signer } from "../signing/wallet_standard";

/** A request to the service, of which the wallet signs the text if there is an `action`. */
export interface Request {
  path: string;
  action?: string;
  /** Fields of the body, in the order in which the text has them. Amounts are digits: they may be large. */
  fields: Record<string, string | number>;
  /** Fields of the body that the text does not have. */
  beside?: Record<string, string>;
  code?: string | undefined;
}

interface Prepared {
  asked: string;
  body: Record<string, string | number>;
  key: string;
}

/**
 * One operation of a dialog. A request that may have arrived is sent again as it was, with the same
 * key, so that it takes effect once; any other is signed anew.
 */
export class Attempt {
  private prepared: Prepared | null = null;

  constructor(
    private readonly api: Api,
    private readonly signer: Signer | null,
    /** Tell what the wallet is asked to sign. */
    private readonly tell: (text: string) => void,
  ) {}

  async post<T>(request: Request): Promise<T> {
    const asked = JSON.stringify(request);
    if (this.prepared?.asked !== asked) this.prepared = { asked, body: await this.body(request), key: newKey() };
    const { body, key } = this.prepared;
    const headers: Record<string, string> = request.code === undefined ? {} : { "X-2FA-CODE": request.code };
    try {
      return await this.api.post<T>(request.path, body, key, headers);
    } catch (error) {
      if (!mayHaveArrived(error)) this.prepared = null;
      throw error;
    }
  }

  private async body({ action, fields, beside }: Request): Promise<Record<string, string | number>> {
    const body = { ...fields, ...beside };
    if (action === undefined) return body;
    const signer = this.signer;
    if (signer === null) throw new Error("no wallet is connected");
    const { nonce } = await this.api.post<{ nonce: string }>("api/auth/nonce", { owner: signer.address });
    // The page's own text, not one of the service: it says what was asked for here.
    const text = [action, ...Object.values(fields), nonce].join(":");
    this.tell(text);
    return { ...body, nonce, ...(await signer.signText(text)) };
  }
}

/** Return whether a request may have had an effect although it has failed. */
export function mayHaveArrived(error: unknown): boolean {
  return error instanceof Problem && (error.status === 0 || error.status >= 500);
}
